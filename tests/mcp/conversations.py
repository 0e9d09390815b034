"""Five conversations of an agent with Oppen, played by the official client against the real engine.

Usage: conversations.py NAME FOLDER. The folder holds a project already where FOLDER/oppen.yaml is there (a cluster's), else one is made.
"""

import asyncio
import os
import sys
from decimal import Decimal

from agent import agent, play, project


def prepared(folder, **options):
    if not os.path.exists(os.path.join(folder, "oppen.yaml")):
        project(folder, **options)


def on_cluster(folder):
    with open(os.path.join(folder, "oppen.yaml")) as file:
        return "backend: kubernetes" in file.read()


async def a(folder):
    """Train MNIST for 2 epochs with $0.05."""
    prepared(folder)
    async with agent(folder) as oppen:
        fits = await oppen("check_training_budget", budget_usd=0.05, epochs=2, batch_size=64)
        assert fits["feasible"] and fits["model_type"] == "mnist", fits
        assert fits["cost"]["expected_usd"] == "0.0205" and fits["utilisation_percent"] == 41.0, fits
        assert fits["epochs_that_fit"] == 4 and fits["left_usd"] == "0.0295", fits
        over = await oppen("check_training_budget", budget_usd="0.05", epochs=5)
        assert not over["feasible"] and over["cost"]["expected_usd"] == "0.05125", over
        refused = await oppen.refused("trigger_training_job", model_type="mnist", epochs=5, max_cost_usd=0.05)
        assert refused.code == "blocked" and "$0.05125, more than $0.05" in refused.message, refused
        job = await oppen("trigger_training_job", model_type="mnist", epochs=2, batch_size=64, priority="normal", max_cost_usd=0.05)
        assert list(job)[0] == "cost" and job["cost"]["expected_usd"] == "0.0205" and job["submitted"], job
        oppen.news.clear()
        done = await oppen("get_training_status", job_id=job["job_id"], wait_seconds=120)
        assert done["status"] == "succeeded" and done["over"], done
        run = done["runs"][0]
        assert run["done"] == 2 and run["epochs"] == 2 and run["metrics"]["loss"] == 0.333, run
        assert oppen.news, "no progress was told"
        logs = await oppen("get_training_logs", job_id=job["job_id"])
        assert logs["untrusted"] and "epoch=2 loss=0.333" in logs["text"] and logs["complete"], logs
        report = await oppen("get_training_cost_report")
        assert report["total"]["runs"] >= 1 and Decimal(report["total"]["spent_usd"]) == Decimal(done["spent_usd"]) > 0, report
        runs = await oppen("list_training_runs", status="succeeded", limit=1)
        assert runs["runs"][0]["job_id"] == job["job_id"], runs
        # The submission's id, and the workflow, mean the same job.
        for other in (job["submission_id"], job["job_id"].split("/")[0]):
            assert (await oppen("get_training_status", job_id=other))["runs"][0]["job_id"] == job["job_id"]


async def b(folder):
    """Twenty urgent models go ahead of normal ones that were queued before."""
    prepared(folder, pace="20")
    async with agent(folder) as oppen:
        await oppen("submit_batch_training_jobs", jobs_json='[{"model_type": "mnist", "epochs": 3, "count": 6}]')
        while (await oppen("get_queue_status"))["running"] < 2:
            pass
        queue = await oppen("get_queue_status")
        assert (queue["running"], queue["pending"], queue["capacity"]["free_slots"]) == (2, 4, 0), queue
        urgent = [{"model_type": "mnist", "epochs": 1, "batch_size": 32 + i, "priority": "urgent"} for i in range(20)]
        batch = await oppen("submit_batch_training_jobs", jobs_json=urgent)
        assert [j["position"] for j in batch["jobs"]] == list(range(1, 21)), batch["jobs"]
        assert Decimal(batch["cost"]["expected_usd"]) == 20 * Decimal("0.01025") * Decimal("1.5"), batch["cost"]
        line = await oppen("list_queued_jobs", limit=15)
        rest = await oppen("list_queued_jobs", limit=15, cursor=line["next_cursor"])
        jobs = line["jobs"] + rest["jobs"]
        assert [j["priority"] for j in jobs] == ["urgent"] * 20 + ["normal"] * 4 and rest["next_cursor"] is None, jobs
        assert [j["job_id"] for j in jobs[:20]] == [j["job_id"] for j in batch["jobs"]], jobs
        starts = [j["starts_at"] for j in jobs]
        assert starts == sorted(starts) and all(j["waits_because"] for j in jobs), jobs
        # One is taken back, then all; those that run are stopped.
        one = await oppen("cancel_queued_job", job_id=jobs[0]["job_id"])
        assert one["ended"] == [jobs[0]["job_id"]] and one["confirmed"], one
        assert (await oppen("list_queued_jobs"))["jobs"][0]["job_id"] == jobs[1]["job_id"]
        running = (await oppen("get_queue_status"))["running_jobs"]
        refused = await oppen.refused("cancel_queued_job", job_id=running[0]["job_id"])
        assert refused.code == "not_queued" and "stop_training_job" in refused.next, refused
        await oppen("cancel_queued_job", job_id=batch["submission_id"])
        for job in jobs[20:]:
            await oppen("cancel_queued_job", job_id=job["job_id"])
        for job in running:
            assert (await oppen("stop_training_job", job_id=job["job_id"]))["ended"] == [job["job_id"]]
            ended = await oppen("get_training_status", job_id=job["job_id"], wait_seconds=60)
            assert ended["status"] == "cancelled", ended
        queue = await oppen("get_queue_status")
        assert (queue["pending"], queue["pending_cost_usd"], queue["running"]) == (0, "0.00", 0), queue


async def c(folder):
    """Fifty configurations for at most $0.50."""
    prepared(folder, budget="0.50", pace="20")
    async with agent(folder) as oppen:
        wanted = [{"model_type": "mnist", "epochs": 1, "batch_size": 16 * (i + 1)} for i in range(50)]
        refused = await oppen.refused("submit_batch_training_jobs", jobs_json=wanted, max_cost_usd=0.5)
        assert refused.code == "blocked" and "nothing was submitted" in refused.message, refused
        assert (await oppen("list_training_runs"))["runs"] == [], "all or none"
        for job in wanted:
            job["priority"] = "background"
        look = await oppen("submit_batch_training_jobs", jobs_json=wanted, max_cost_usd=0.5, dry_run=True)
        assert not look["submitted"] and look["cost"]["expected_usd"] == "0.41", look["cost"]
        assert (await oppen("get_queue_status"))["pending"] == 0
        batch = await oppen("submit_batch_training_jobs", jobs_json=wanted, max_cost_usd=0.5)
        assert batch["cost"]["expected_usd"] == batch["pending_cost_usd"] == "0.41" and len(batch["jobs"]) == 50, batch
        assert batch["budgets"][0]["used_percent"] == 82.0, batch["budgets"]
        queue = await oppen("get_queue_status")
        each = Decimal("0.0082")
        assert Decimal(queue["pending_cost_usd"]) == queue["pending"] * each, queue
        assert queue["pending"] + queue["running"] == 50, queue
        # What waits and runs counts: nine cents are left, and twelve more would be twelve.
        more = [{"model_type": "mnist", "epochs": 1, "count": 12}]
        refused = await oppen.refused("submit_batch_training_jobs", jobs_json=more)
        assert refused.code == "blocked" and "limit is $0.50" in refused.message, refused
        queue = await oppen("get_queue_status")
        assert queue["pending"] + queue["running"] == 50, queue
        over = await oppen("check_training_budget", budget_usd=1, epochs=12)
        assert not over["feasible"] and over["objections"], over
        await oppen("cancel_queued_job", job_id=batch["submission_id"])
        for job in (await oppen("get_queue_status"))["running_jobs"]:
            await oppen("stop_training_job", job_id=job["job_id"])


DEAR = """apiVersion: oppen/v1
kind: Workflow
name: train
inputs:
  epochs: {type: integer, default: 20, minimum: 1}   # passes over the data
jobs:
  train:
    run: |
      i=1
      while [ $i -le {{ inputs.epochs }} ]; do
        v=5; [ $i -lt 5 ] && v=$((10 - i))
        echo epoch=$i loss=0.$v; i=$((i+1))
      done
      sleep 0.3
    metric: {name: loss, goal: minimize}
    timeout: 10m
    estimate: {time: 1s}
    resources:
      cpu: 8        # as on the old machine
      memory: 4Gi
"""


async def d(folder):
    """How do I reduce the cost? Advice with the edits, applied, run again, and the saving shown."""
    prepared(folder, train=DEAR, budget="1000")
    async with agent(folder) as oppen:
        plan = await oppen("plan_workflow")
        assert plan["actions"] == {"create": 1} and not plan["blocked"], plan
        low = await oppen.refused("apply_plan", plan_id=plan["plan_id"], max_cost_usd="0.000001")
        assert low.code == "blocked", low
        await oppen("apply_plan", plan_id=plan["plan_id"], max_cost_usd=1)
        first = await oppen("get_training_status", job_id="train/train", wait_seconds=60)
        assert first["status"] == "succeeded", first
        forecast = await oppen("forecast_training_cost", job_name="train/train")
        assert forecast["expected_usd"] == first["spent_usd"] and forecast["jobs"][0]["status"] == "succeeded", forecast
        over = await oppen.refused("forecast_training_cost", job_name="train/train", remaining_epochs=5)
        assert over.code == "already_ended", over
        told = await oppen("recommend_cost_optimization", run_id="train/train")
        kinds = {a["kind"] for a in told["advice"]}
        # What processes use is measured here; what Jobs use is not kept, and the answer says so.
        wanted = {"early-stopping"} if on_cluster(folder) else {"cpu", "memory"}
        assert wanted | {"early-stopping"} <= kinds and len(kinds) + len(told["missing"]) >= 5, told
        assert all(Decimal(a["saves_usd"]) > 0 and a["confidence"] in ("low", "medium", "high") and a["because"] for a in told["advice"]), told
        assert 0 < Decimal(told["together_usd"]) <= Decimal(told["base_usd"]), told
        # The person agrees to fewer cores and less memory; to fewer epochs where that is not known.
        path = os.path.join(folder, "workflows/train.yaml")
        with open(path) as file:
            text = file.read()
        for one in told["advice"]:
            if one["kind"] in wanted:
                (edit,) = one["edits"]
                assert edit["file"] == "workflows/train.yaml" and text.count(edit["before"]) == 1, edit
                assert text.split("\n")[edit["line"] - 1] == edit["before"].split("\n")[0], edit
                text = text.replace(edit["before"], edit["after"])
        with open(path, "w") as file:
            file.write(text)
        assert "# as on the old machine" in text and (await oppen("validate_workflow"))["valid"]
        stale = await oppen.refused("apply_plan", plan_id=plan["plan_id"], max_cost_usd=1)
        assert stale.code == "stale_plan" and "plan_workflow" in stale.next, stale
        again = await oppen("plan_workflow")
        assert again["actions"] == {"rerun": 1}, again["runs"]
        assert on_cluster(folder) or any("resources.cpu 8 ->" in r for r in again["runs"][0]["reasons"]), again["runs"]
        await oppen("apply_plan", plan_id=again["plan_id"], max_cost_usd=1)
        second = await oppen("get_training_status", job_id="train/train", wait_seconds=60)
        while second["runs"][0]["status"] != "succeeded" or second["runs"][0]["spent_usd"] == first["runs"][0]["spent_usd"]:
            second = await oppen("get_training_status", job_id="train/train", wait_seconds=5)
        saving = 1 - Decimal(second["spent_usd"]) / Decimal(first["spent_usd"])
        assert saving > Decimal("0.3"), (first["spent_usd"], second["spent_usd"])
        report = await oppen("get_training_cost_report", by="job")
        assert report["total"]["attempts"] == 2, report
        compared = await oppen("compare_training_configs", config_json=[{"job_id": "train/train"}, {"model_type": "train", "epochs": 40, "name": "longer"}])
        assert compared["metric"] == "loss" and [c["measured"] for c in compared["configs"]] == [True, False], compared
        assert compared["configs"][0]["metric"] == 0.5 and compared["configs"][1]["metric"] is None, compared


async def e(folder):
    """What is the system's status?"""
    prepared(folder, slots=1, budget="0.05", pace="20")
    async with agent(folder) as oppen:
        calm = await oppen("get_training_dashboard")
        assert calm["healthy"] and calm["pending"] == 0 and calm["cost_total_usd"] == "0.00", calm
        for _ in range(2):
            job = await oppen("queue_training_job", model_type="mnist", epochs=2)
        assert job["position"] in (1, 2) and job["budgets"][0]["used_percent"] == 82.0, job
        while (await oppen("get_queue_status"))["running"] < 1:
            pass
        board = await oppen("get_training_dashboard")
        assert [r["job_id"].startswith("mnist-") for r in board["running"]] == [True] and board["pending"] == 1, board
        while board["runs"].get("pending") != 1:  # The second one's request is taken up soon.
            board = await oppen("get_training_dashboard")
        assert 0 < board["cluster"]["memory_percent"] <= 100 and board["cluster"]["machines"] >= 1, board["cluster"]
        assert board["cluster"]["cpu_percent"] is None or 0 <= board["cluster"]["cpu_percent"] <= 100, board["cluster"]
        assert board["next_free_slot"] and board["pending_cost_usd"] == "0.0205", board
        quality = {s["about"]: s["quality"] for s in board["sources"]}
        assert quality["runs, queue and money"] == "fresh" and all(s["source"] for s in board["sources"]), board["sources"]
        assert all(s["why"] for s in board["sources"] if s["quality"] in ("absent", "failed")), board["sources"]
        checks = {c["check"]: c["level"] for c in board["checks"]}
        everywhere = {"store", "engine", "runs", "machine"}
        assert checks.keys() == everywhere | ({"API server", "permissions", "quota", "metrics"} if on_cluster(folder) else set()), checks
        assert "problem" not in checks.values() and board["healthy"], board["findings"]
        # By pod, or by the run's processes: measured soon after the start.
        running = board["running"][0]["job_id"]
        mine = lambda: [u for u in board["usage"] if u["job_id"] == running and u["cores"] is not None and u["memory_gib"]]
        while not mine():
            await asyncio.sleep(0.5)
            board = await oppen("get_training_dashboard")
        source = {s["about"]: s for s in board["sources"]}["use of nodes and pods" if on_cluster(folder) else "processes of runs"]
        assert source["source"] in ("metrics-server", "kubelets", "/proc") and source["age_seconds"] >= 0, source
        assert mine()[0]["name"] and mine()[0]["node"] and 0 < mine()[0]["memory_gib"] < 1, mine()
        waiting = (await oppen("list_queued_jobs"))["jobs"]
        await oppen("cancel_queued_job", job_id=waiting[0]["job_id"])
        await oppen("stop_training_job", job_id=board["running"][0]["job_id"])


if __name__ == "__main__":
    play(globals()[sys.argv[1]](sys.argv[2]))
