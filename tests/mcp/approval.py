"""A project that asks for a person: what agents start waits until one agrees, also behind the tools.

Usage: approval.py NAME FOLDER
"""

import json
import os
import sqlite3
import subprocess
import sys

from agent import OPPEN, agent, play, project


def oppen_as_person(folder, *args):
    out = subprocess.run([OPPEN, "-C", folder, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=dict(os.environ, NO_COLOR="1"))
    return out.returncode, out.stdout + out.stderr


async def required(folder):
    project(folder, more="agents: {approval: required}\n")
    async with agent(folder) as oppen:
        look = await oppen("trigger_training_job", model_type="mnist", epochs=2, dry_run=True)
        assert look["cost"]["expected_usd"] == "0.0205" and not look["submitted"], look
        held = await oppen.refused("trigger_training_job", model_type="mnist", epochs=2, max_cost_usd=0.05)
        assert held.code == "approval_required" and "$0.0205" in held.message, held
        command = held.details["command"]
        assert command == f"oppen approve {held.details['job_id']}" and command in held.next, held
        assert (await oppen("list_training_runs"))["runs"] == [] and (await oppen("get_queue_status"))["pending"] == 0
        waits = await oppen.refused("get_training_status", job_id=held.details["job_id"])
        assert waits.code == "approval_required", waits
        code, text = oppen_as_person(folder, "approve")
        assert code == 0 and held.details["job_id"] in text and "mnist" in text and "$0.0205" in text, text
        code, text = oppen_as_person(folder, "approve", held.details["job_id"])
        assert code == 9 and "say --yes" in text, text
        code, text = oppen_as_person(folder, "approve", held.details["job_id"], "--yes")
        assert code == 0 and "1 runs for $0.0205" in text, text
        done = await oppen("get_training_status", job_id=held.details["job_id"], wait_seconds=60)
        assert done["status"] == "succeeded", done
        # A batch, declined.
        batch = await oppen.refused("submit_batch_training_jobs", jobs_json='[{"model_type": "mnist", "count": 3}]')
        code, text = oppen_as_person(folder, "approve", batch.details["job_id"], "--decline")
        assert code == 0 and "nothing was submitted" in text, text
        gone = await oppen.refused("get_training_status", job_id=batch.details["job_id"])
        assert gone.code == "not_found", gone
        # What was proposed is what is agreed to.
        later = await oppen.refused("queue_training_job", model_type="mnist", epochs=3)
        with open(os.path.join(folder, "workflows/train.yaml"), "a") as out:
            out.write("    env: {MORE: '1'}\n")
        code, text = oppen_as_person(folder, "approve", later.details["job_id"], "--yes")
        assert code == 5 and "the files have changed" in text, text
        # A plan: the command is the person's own apply.
        plan = await oppen("plan_workflow")
        held = await oppen.refused("apply_plan", plan_id=plan["plan_id"], max_cost_usd=1)
        assert held.code == "approval_required" and held.details["command"].endswith(f"--expect {plan['plan_id']} --max-cost 1.00"), held.details
        code, text = oppen_as_person(folder, *held.details["command"].split()[1:])
        assert code == 0 and "1 succeeded" in text, text
    forged(folder)


def forged(folder):
    """What an agent leaves in the store behind the tools' back is held back by the engine itself."""
    code, text = oppen_as_person(folder, "history", "-n", "200", "-o", "json")
    events = [e["event"] for e in json.loads(text)["events"]]
    agents = [e for e in events if e["event"] == "of-agent"]
    assert len(agents) == 1 and agents[0]["approved_by"], agents
    wants = {"request": "retry", "addresses": ["train/train"], "by": "mallory"}
    body = {"request": "of-agent", "agency": {"agent": "mallory 1", "cost": "0.00"}, "wants": wants}
    db = sqlite3.connect(os.path.join(folder, ".oppen/state.db"))
    db.execute("INSERT INTO requests (at, body) VALUES (0, ?)", (json.dumps(body),))
    db.commit()
    db.close()
    oppen_as_person(folder, "queue", "run")
    code, text = oppen_as_person(folder, "history", "-n", "3")
    assert "held-back" in text and "mallory 1" in text, text


async def ceiling(folder):
    """Agents may spend a little alone."""
    project(folder, more="agents: {max_cost: 0.03 USD}\n")
    async with agent(folder) as oppen:
        held = await oppen.refused("trigger_training_job", model_type="mnist", epochs=4)
        assert held.code == "approval_required" and "up to $0.03 alone" in held.message, held
        job = await oppen("trigger_training_job", model_type="mnist", epochs=2)
        assert (await oppen("get_training_status", job_id=job["job_id"], wait_seconds=60))["status"] == "succeeded"


if __name__ == "__main__":
    play(globals()[sys.argv[1]](sys.argv[2]))
