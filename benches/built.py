"""The programs that are measured: as OPPEN and KNOWN name them, else built with --profile release-fast."""

import json
import os
import subprocess

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
BUILD = ["cargo", "build", "--locked", "--profile", "release-fast", "--message-format", "json"]


def built(named, *what):
    if named in os.environ:
        return os.environ[named]
    out = subprocess.run([*BUILD, *what], cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return [p for p in (json.loads(line).get("executable") for line in out.splitlines()) if p][-1]


def oppen():
    return built("OPPEN", "--bin", "oppen")


def known():
    return built("KNOWN", "--bench", "known")
