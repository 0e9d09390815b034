"""What the conversations share: a project, a client, and calls whose answers are looked at."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager

from mcp import Client, StdioServerParameters

OPPEN = os.environ["OPPEN"]

# A minute an epoch on 1 GPU, 2 cores and 3 GiB, at the built-in prices: 0.01025 USD; cheap hours are off, so that no clock decides.
PROJECT = """apiVersion: oppen/v1
kind: Project
name: agents
pool: {max_concurrent: %(slots)d, quotas: {gpu: 8, cpu: 64, memory: 256Gi}}
rates: {off_peak: {factor: 1}}
budget: {limit: %(budget)s USD}
models:
  mnist: {template: workflows/train.yaml, with: {batch_size: 64}, estimate: {epochs: "{{ inputs.epochs }}", per_epoch: 60s}}
%(more)s"""

TRAIN = """apiVersion: oppen/v1
kind: Workflow
name: train
inputs:
  epochs: {type: integer, default: 2, minimum: 1, maximum: 1000}
  batch_size: {type: integer, default: 64, minimum: 1, maximum: 4096}
jobs:
  train:
    model: mnist
    run:
      - sh
      - -c
      - 'e=1; while [ $e -le "$0" ]; do sleep %(pace)s; echo "epoch=$e loss=0.$((1000 / (e + 1)))"; e=$((e + 1)); done'
      - "{{ inputs.epochs }}"
    resources: {gpu: 1, cpu: 2, memory: 3Gi}
    timeout: 30m
"""


def project(folder, slots=2, budget=100, more="", pace="0.1", train=TRAIN):
    os.makedirs(os.path.join(folder, "workflows"), exist_ok=True)
    with open(os.path.join(folder, "oppen.yaml"), "w") as out:
        out.write(PROJECT % {"slots": slots, "budget": budget, "more": more})
    with open(os.path.join(folder, "workflows/train.yaml"), "w") as out:
        out.write(train % {"pace": pace})


class Refused(Exception):
    def __init__(self, tool, error):
        super().__init__(f"{tool}: {error}")
        self.code, self.message, self.next = error["code"], error["message"], error["next"]
        self.details = error.get("details")


class Agent:
    def __init__(self, client):
        self.client, self.news = client, []

    async def __call__(self, tool, **args):
        """Calls a tool; the structured answer, or Refused."""

        async def progress(done, total, words):
            self.news.append((done, total, words))

        result = await self.client.call_tool(tool, args, progress_callback=progress)
        value = result.structured_content
        assert value is not None, result
        # The same stands in the text, for clients that know no structure.
        assert json.loads(result.content[0].text) == value, result
        if os.environ.get("SHOW"):
            print(f"> {tool} {json.dumps(args)}\n< {json.dumps(value)}", file=sys.stderr)
        if result.is_error:
            for part in ("code", "message", "next"):
                assert value["error"][part], value
            raise Refused(tool, value["error"])
        return value

    async def refused(self, tool, **args):
        try:
            value = await self(tool, **args)
        except Refused as refused:
            return refused
        raise AssertionError(f"{tool} {args} was not refused: {value}")


@asynccontextmanager
async def agent(folder, **options):
    server = StdioServerParameters(command=OPPEN, args=["-C", folder, "mcp"], env=dict(os.environ))
    async with Client(server, **options) as client:
        yield Agent(client)


def play(conversation):
    asyncio.run(asyncio.wait_for(conversation, 240))
    print("ok")
