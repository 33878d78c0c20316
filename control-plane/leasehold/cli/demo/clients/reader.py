"""Needs one S3 object of somebody else's, reads it again and again with plain boto3, and complains when it is gone.

reader.py ENDPOINT BUCKET KEY
"""

import json
import sys
import threading

import boto3
from botocore.exceptions import ClientError


def main() -> None:
    endpoint, bucket, key = sys.argv[1:4]
    s3 = boto3.client("s3", endpoint_url=endpoint)
    told = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        told.set()

    threading.Thread(target=listen, daemon=True).start()
    reads = 0
    while True:
        try:
            s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            print(json.dumps({"lost": key, "error": str(error)}), flush=True)
            return
        reads += 1
        if reads == 1:
            print(json.dumps({"event": "done"}), flush=True)
        if told.wait(0.5):
            print(json.dumps({"event": "end", "reads": reads}), flush=True)
            return


if __name__ == "__main__":
    main()
