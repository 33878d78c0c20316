"""As much of a kubelet as it takes to run an injected pod for real: its containers, as they are written, in a network
namespace. Each has its command, its variables, its user, its capabilities, a root that cannot be written to, and its
volumes. There are no images: the programs are those of this machine.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.namespaces import SBIN, Namespace

SCRIPTS = Path(sys.executable).parent
_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_][A-Za-z0-9_]*)\))")


@dataclass
class Container:
    """One that was started."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    async def ended(self, within: float = 30.0) -> int:
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def terminate(self, within: float = 10.0) -> int:
        """SIGTERM, as for a pod that is deleted."""
        self.process.terminate()
        return await self.ended(within)

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@dataclass
class Kubelet:
    """Runs the containers of one pod. ``folder`` holds its volumes and logs."""

    namespace: Namespace
    pod: Mapping[str, Any]
    ip: str
    folder: Path
    started: list[Container] = field(default_factory=list)

    async def start(self, name: str) -> Container:
        """One container, by its name."""
        spec = self.pod["spec"]
        container = next(one for one in (*spec.get("initContainers", ()), *spec["containers"]) if one["name"] == name)
        log = self.folder / f"{name}-{len(self.started)}.log"
        command = self.namespace.command("sh", "-c", self._script(container))
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out
            )
        found = Container(name, process, log)
        self.started.append(found)
        return found

    async def started_up(self, name: str, within: float = 60.0) -> None:
        """Until its startup probe succeeds. Kubelet comes from outside, to the pod's address."""
        spec = self.pod["spec"]
        container = next(one for one in (*spec.get("initContainers", ()), *spec["containers"]) if one["name"] == name)
        probe = container["startupProbe"]["httpGet"]
        url = f"http://{self.ip}:{probe['port']}{probe['path']}"
        async with asyncio.timeout(within):
            while (await asyncio.to_thread(self.namespace.run, "curl", "-sf", "--max-time", "2", url)).returncode:
                running = [one for one in self.started if one.name == name and one.process.returncode is None]
                assert running, self.started[-1].said
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Whatever still runs is killed."""
        for one in self.started:
            await one.kill()

    # --- one container ---

    def _script(self, container: Mapping[str, Any]) -> str:
        """Mounts are the container's own: ``ip netns exec`` gave it a mount namespace."""
        lines = ["set -e", "mount -t tmpfs tmpfs /var/lib", "mount -t tmpfs tmpfs /run"]
        for mount in container.get("volumeMounts", ()):
            source, target = shlex.quote(str(self._volume(mount["name"]))), shlex.quote(mount["mountPath"])
            lines += [f"mkdir -p {target}", f"mount --bind {source} {target}"]
        if container.get("securityContext", {}).get("readOnlyRootFilesystem"):
            lines += ["mount -o remount,bind,ro /", "mount -o remount,ro /var/lib", "mount -o remount,ro /run"]
        variables = self._variables(container)
        words = [*container["command"], *container.get("args", ())]
        # The user changes last: who starts the program may need to look into folders that he himself may not.
        command = [
            "env", "-i", f"PATH={SCRIPTS}:{SBIN}", *(f"{key}={value}" for key, value in variables.items()),
            "setpriv", *self._user(container), *(_expanded(word, variables) for word in words),
        ]  # fmt: skip
        return "\n".join([*lines, f"exec {shlex.join(command)}"])

    def _user(self, container: Mapping[str, Any]) -> list[str]:
        context = container.get("securityContext", {})
        capabilities = context.get("capabilities", {})
        bounding = "" if "ALL" in capabilities.get("drop", ()) else "+all"
        kept = ",".join(f"+{one.lower()}" for one in capabilities.get("add", ()))
        return [
            f"--reuid={context.get('runAsUser', 1000)}", f"--regid={context.get('runAsGroup', 1000)}", "--clear-groups",
            "--inh-caps=-all", f"--bounding-set={bounding or ','.join(filter(None, ('-all', kept)))}",
            *(["--no-new-privs"] if context.get("allowPrivilegeEscalation") is False else []),
        ]  # fmt: skip

    def _variables(self, container: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for one in container.get("env", ()):
            if "value" in one:
                found[one["name"]] = _expanded(one["value"], found)
            else:
                found[one["name"]] = self._field(one["valueFrom"]["fieldRef"]["fieldPath"])
        return found

    def _field(self, path: str) -> str:
        label = re.fullmatch(r"metadata\.labels\['(.+)'\]", path)
        metadata = self.pod["metadata"]
        if label is not None:
            return str(metadata.get("labels", {}).get(label[1], ""))
        return str({
            "metadata.name": metadata["name"], "metadata.namespace": "shop", "metadata.uid": "0b7b4d1f-9f59-4f11",
            "status.podIP": self.ip, "spec.nodeName": "node-1",
        }[path])  # fmt: skip

    def _volume(self, name: str) -> Path:
        volume = next(one for one in self.pod["spec"]["volumes"] if one["name"] == name)
        folder = self.folder / "volumes" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o777)  # as an emptyDir is
            for source in volume.get("projected", {}).get("sources", ()):
                (folder / source["serviceAccountToken"]["path"]).write_text("a-token")
        return folder


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """``$(NAME)`` is that variable, ``$$`` a dollar; a name that is not known stays as it is."""

    def replace(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else variables.get(found[2], found[0])

    return _REFERENCE.sub(replace, text)
