"""Uploads objects to S3 with plain boto3, says their keys, and works on until somebody ends it.

uploader.py ENDPOINT BUCKET COUNT
"""

import json
import sys
from uuid import uuid4

import boto3


def main() -> None:
    endpoint, bucket, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    s3 = boto3.client("s3", endpoint_url=endpoint)
    for n in range(count):
        key = f"uploads/{uuid4()}"
        s3.put_object(Bucket=bucket, Key=key, Body=f"page {n}".encode())
        print(json.dumps({"created": key, "type": "object"}), flush=True)
    print(json.dumps({"event": "done"}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
