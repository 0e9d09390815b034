"""The same over HTTP: token, Host, Origin on every method; the official client; rude clients.

Usage: web.py NAME FOLDER
"""

import asyncio
import os
import re
import socket
import stat
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from agent import OPPEN, Agent, play, project


@asynccontextmanager
async def served(folder, *args, env=None):
    """A server on a free port: its address and its token."""
    server = subprocess.Popen([OPPEN, "-C", folder, "mcp", "--http", "127.0.0.1:0", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ, **(env or {})))
    try:
        line = server.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/mcp with the token (in|of) (\S+)", line)
        assert found, line
        token = open(found[3]).read().strip() if found[2] == "in" else env[found[3]]
        yield int(found[1]), token, found[3]
    finally:
        server.terminate()
        assert server.wait(30) is not None
        assert server.stdout.read() == "", "standard output is not ours to use"


def ask(port, text, patience=10):
    """One raw request; the status line's number."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as link:
        link.sendall(text.encode())
        answer = link.recv(65536).decode(errors="replace")
        return int(answer.split(" ")[1]) if answer else 0


def request(port, method="POST", path="/mcp", host=None, origin=None, token=None, body="{}", more=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{port}'}\r\nContent-Type: application/json\r\n"
    head += "Accept: application/json, text/event-stream\r\nConnection: close\r\n"
    head += f"Origin: {origin}\r\n" if origin else ""
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    return ask(port, f"{head}{more}Content-Length: {len(body)}\r\n\r\n{body}")


async def gate(folder):
    project(folder)
    async with served(folder) as (port, token, file):
        mode = os.stat(file)
        assert stat.S_IMODE(mode.st_mode) == 0o600 and len(token) == 64, (oct(mode.st_mode), file)
        for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD", "PATCH"):
            for path in ("/mcp", "/", "/other"):
                at = {"method": method, "path": path}
                assert request(port, **at) == 401, at
                assert request(port, **at, token="wrong") == 401, at
                assert request(port, **at, token=token + "0") == 401, at
                assert request(port, **at, token=token, host="evil.example") == 403, at
                assert request(port, **at, token=token, host="127.0.0.1.evil.example") == 403, at
                assert request(port, **at, token=token, origin="https://evil.example") == 403, at
                assert request(port, **at, token=token, origin="null") == 403, at
        assert request(port, path="/other", token=token) == 404
        assert request(port, token=token, body="not json") in (400, 415)
        assert request(port, token=token, body="x" * (5 << 20)) in (413, 0)
        assert request(port, token=token, more="X-Big: " + "y" * 200_000 + "\r\n") in (431, 400, 0)
    # Beyond loopback: refused without somebody who speaks TLS in front.
    out = subprocess.run([OPPEN, "-C", folder, "mcp", "--http", "0.0.0.0:0"], capture_output=True, text=True, timeout=30)
    assert out.returncode == 64 and "clear text" in out.stderr and "--behind-tls" in out.stderr, out
    env = {"OPPEN_MCP_TOKEN": "short"}
    out = subprocess.run([OPPEN, "-C", folder, "mcp", "--http", "127.0.0.1:0"], capture_output=True, text=True, timeout=30, env=dict(os.environ, **env))
    assert out.returncode == 64 and "16 printable" in out.stderr, out
    async with served(folder, "--behind-tls", "gpu.example.com", env={"OPPEN_MCP_TOKEN": "a-token-of-my-own"}) as (port, token, _):
        assert request(port, token=token, host="gpu.example.com", body="not json") in (400, 415)
        assert request(port, token=token, host="other.example.com") == 403


async def client(folder):
    """The official client, in both ages of the protocol, while others are rude."""
    project(folder)
    async with served(folder) as (port, token, _):
        rude = []
        for i in range(40):  # half a request, half a body, an answer that nobody reads
            link = socket.create_connection(("127.0.0.1", port))
            head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            head += "Accept: application/json, text/event-stream\r\n"
            body = '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
            link.sendall([head[:40], head + "Content-Length: 900\r\n\r\n{", (head + f"Content-Length: {len(body)}\r\n\r\n{body}") * 20][i % 3].encode())
            rude.append(link)
        for mode in ("auto", "legacy"):
            start = time.monotonic()
            async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
                transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)
                async with Client(transport, mode=mode) as link:
                    oppen = Agent(link)
                    assert len((await link.list_tools()).tools) >= 17
                    job = await oppen("trigger_training_job", model_type="mnist", epochs=3, batch_size=8)
                    done = await oppen("get_training_status", job_id=job["job_id"], wait_seconds=60)
                    assert done["status"] == "succeeded" and oppen.news, (done, oppen.news)
                    refused = await oppen.refused("get_training_status", job_id="none/such")
                    assert refused.code == "not_found", refused
                    text = await link.read_resource(f"oppen://runs/{job['job_id']}")
                    assert "succeeded" in text.contents[0].text, text
                    prompt = await link.get_prompt("train_within_budget", {"model_type": "mnist", "epochs": "2", "budget_usd": "0.05"})
                    assert "$0.05" in prompt.messages[0].content.text, prompt
            assert time.monotonic() - start < 60
        # One that hangs up in the middle of a long wait.
        body = '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}}'
        assert request(port, token=token, body=body) == 200
        for link in rude:
            link.close()
        assert request(port, method="DELETE", token=token) in (400, 404)


if __name__ == "__main__":
    play(globals()[sys.argv[1]](sys.argv[2]))
