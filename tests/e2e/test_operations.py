"""Every command for services on Anyscale, through the real CLI, with a real model; test_rollouts.py has the rest."""

import json
import re
import signal
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from rehearsal.stage import Stage
from tests.commands import (
    AT_A_TIME,
    AT_ONCE,
    FOLDER,
    LIKE_A_TERMINAL,
    ROLLOUT,
    SERVICE,
    ControlPlane,
    on_anyscale,
    weights,
)

# Deploy, status, logs, terminate


def test_deploy_prints_its_plan_and_the_service_answers(first_deploy):
    ended = first_deploy
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for line in ("starts a new service", "HF_TOKEN", "1 to 4 x g6.2xlarge", "passed its probe"):
        assert line in ended.stdout
    assert re.search(r"upload +\d+ files, \d+\.\d MB", ended.stdout)
    assert "Application" in ended.stderr, "the checklist was not shown while it waited"


def test_deploy_as_json_prints_json_and_nothing_else_and_terminate_wants_the_name_or_yes(staged):
    name = "json"
    refused = staged.run("deploy", SERVICE, "--name", name, "--json")
    assert refused.returncode == 2
    assert "Pass --yes" in json.loads(refused.stdout)["error"]
    done = staged.run("deploy", SERVICE, "--name", name, "--json", "--yes")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["service"], result["state"]) == (name, "RUNNING")
    assert httpx.get(f"{result['url']}/v1/models", trust_env=False).status_code == 401, "it answers without the token"
    refused = staged.run("terminate", SERVICE, "--name", name)
    assert refused.returncode == 2
    assert on_anyscale(staged, name)["current_state"] == "RUNNING"
    done = staged.run("terminate", SERVICE, "--name", name, "--yes")
    assert done.returncode == 0, done.stderr
    assert on_anyscale(staged, name)["current_state"] == "TERMINATED"


def test_deploy_over_a_running_service_says_what_it_updates_and_rollback_deploys_that_again(staged, deployed):
    (before,) = weights(staged, deployed)
    update = staged.run("deploy", SERVICE, "--name", deployed, "--yes")
    assert update.returncode == 0, update.stderr
    assert re.search(rf"goes back to +{before}", update.stdout)
    assert before not in weights(staged, deployed)
    back = staged.run("rollback", SERVICE, "--name", deployed, "--yes", "--json")
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout)["version"].endswith(before)
    (now,) = weights(staged, deployed)
    assert now.endswith(before)


def test_status_tells_versions_and_traffic_and_keeps_the_token(staged, deployed):
    page = staged.run("status", SERVICE, "--name", deployed)
    assert page.returncode == 0
    assert "RUNNING" in page.stdout
    assert "100%" in page.stdout
    as_json = staged.run("status", SERVICE, "--name", deployed, "--json")
    assert json.loads(as_json.stdout)["primary"]["weight"] == 100
    token = on_anyscale(staged, deployed)["auth_token"]
    assert token not in page.stdout + as_json.stdout


def test_status_goes_on_showing_until_ctrl_c(staged, deployed):
    watching = staged.start("status", SERVICE, "--name", deployed, "--watch", stdout=subprocess.PIPE, **LIKE_A_TERMINAL)
    assert deployed in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    assert watching.wait(timeout=30) == 0


def test_plan_compares_with_what_runs(staged, deployed):
    same = staged.run("plan", SERVICE, "--against", deployed)
    assert same.returncode == 0, same.stdout + same.stderr
    (changes,) = re.findall(r"(?s)\nChanges(.*)", same.stdout)
    assert deployed in changes
    assert "phi-4-mini" not in changes
    nobody = staged.run("plan", SERVICE, "--against", "nobody")
    assert "nobody" in nobody.stdout + nobody.stderr


def test_logs_are_those_of_the_version(staged, deployed):
    logs = staged.run("logs", SERVICE, "--name", deployed, "--tail", "500")
    assert logs.returncode == 0, logs.stderr
    assert "laptop profile" in logs.stdout


# What is secret stays secret


def test_secrets_reach_no_log_journal_report_or_upload(staged, name):
    secrets = {"HF_TOKEN": staged.env["HF_TOKEN"], "IN_DOT_ENV": "dot-env-not-to-be-seen"}
    (staged.repository / ".env").write_text(f"IN_DOT_ENV={secrets['IN_DOT_ENV']}\n")
    words = (SERVICE, "--name", name)
    deploy, rollout = staged.run("deploy", *words, "--yes"), staged.run("rollout", *words, *ROLLOUT)
    runs = [deploy, rollout, staged.run("status", *words, "--json"), staged.run("logs", *words, "--tail", "5000")]
    assert [run.returncode for run in runs] == [0, 0, 0, 0], [run.stderr[-2000:] for run in runs]
    forbidden = [*secrets.values(), on_anyscale(staged, name)["auth_token"], staged.env["ANYSCALE_CLI_TOKEN"]]
    kept = {file: file.read_text() for file in (staged.repository / "rollouts").rglob("*") if file.is_file()}
    assert {"journal.jsonl", "report.html", "service.yaml"} <= {file.name for file in kept}
    for text in [*kept.values(), *(run.stdout + run.stderr for run in runs)]:
        assert not [secret for secret in forbidden if secret in text]
    for package in (staged.folder / "uploads").glob("*.zip"):
        with zipfile.ZipFile(package) as opened:
            names = opened.namelist()
            assert not [path for path in names if path.endswith("/.env") or "/rollouts/" in path]
            assert not [path for path in names if any(secret.encode() in opened.read(path) for secret in forbidden[:3])]


def test_a_secret_that_is_not_there_stops_a_deploy(staged, control_plane, name):
    before = control_plane.applies()
    env = {key: value for key, value in staged.env.items() if key != "HF_TOKEN"}
    ended = subprocess.run(
        staged.command("deploy", SERVICE, "--name", name, "--yes"),
        cwd=staged.repository,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "export HF_TOKEN=" in ended.stderr
    assert control_plane.applies() == before


def test_errors_stop_a_deploy_unless_each_is_named_and_warnings_do_not(staged, control_plane, name):
    before = control_plane.applies()
    folder = staged.repository / "services" / FOLDER
    serve, yaml, slo = (folder / file for file in ("serve.py", "service.yaml", "slo.yaml"))
    written = {file: file.read_text() for file in (serve, yaml, slo)}
    serve.write_text(written[serve].replace("TOOLS = dict(", "TOOLS = dict(temperature=0, "))
    yaml.write_text(written[yaml].replace('HARD_STOP_AFTER_S: "600"', 'HARD_STOP_AFTER_S: "60"'))
    slo.unlink()
    words = ("deploy", SERVICE, "--name", name)
    try:
        refused = staged.run(*words, "--yes")
        one_named = staged.run(*words, "--yes", "--force", "unknown-engine-argument")
        all_named = staged.run(*words, "--force", "unknown-engine-argument", "--force", "proxy-cuts-streams")
    finally:
        for file, text in written.items():
            file.write_text(text)
    assert [refused.returncode, one_named.returncode] == [2, 2]
    assert "serve.py:" in refused.stderr
    assert "warning no-slo" in refused.stderr
    assert "--force proxy-cuts-streams --force unknown-engine-argument" in refused.stderr
    assert "--force proxy-cuts-streams" in one_named.stderr
    assert "--force unknown-engine-argument" not in one_named.stderr
    assert "Pass --yes" in all_named.stderr, "it did not come to the question whether to deploy"
    assert control_plane.applies() == before


# Wrong input changes nothing


WRONG = {
    "steps that fall": (["rollout", "--steps", "50,25,100"], {}, "do not rise"),
    "steps that end early": (["rollout", "--steps", "5,50"], {}, "do not rise"),
    "a duration without a unit": (["rollout", "--bake", "60"], {}, "Write it with its unit"),
    "an SLO file with an unknown key": (["rollout", "--slo", "unknown_key.yaml"], {}, "objectives.ttft_p59"),
    "an SLO file without a unit": (["rollout", "--slo", "no_unit.yaml"], {}, "write it like 500ms"),
    "nothing to resume": (["rollout", "--resume"], {}, "No rollout of"),
    "a cloud that is not there": (["deploy", "--cloud", "no-such-cloud"], {}, "no-such-cloud"),
    "a project that is not there": (["deploy", "--project", "no-such-project"], {}, "no-such-project"),
    "a model that is not there": (["deploy", "--set", "model=no-such"], {}, "There is no model no-such"),
    "an expired token": (["deploy"], {"ANYSCALE_CLI_TOKEN": "aph0_expired"}, "anyscale login"),
    "nothing to roll back": (["rollback"], {}, "does not run"),
    "nothing to terminate": (["terminate"], {}, "There is no service"),
}


@pytest.fixture(scope="module")
def wrong(staged: Stage) -> dict[str, subprocess.CompletedProcess]:
    """What came of each command above, and that none of them changed anything."""
    plane = ControlPlane(staged.url)
    before = plane.applies()

    def run(what: str) -> subprocess.CompletedProcess:
        words, env, _ = WRONG[what]
        nothing_there = what.replace(" ", "-").lower()  # a name each: one service takes one command at a time
        return staged.run(words[0], SERVICE, "--name", nothing_there, "--yes", *words[1:], **env)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        pending = {what: pool.submit(run, what) for what in WRONG}
    assert plane.applies() == before
    return {what: run.result() for what, run in pending.items()}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input(wrong, what):
    *_, sentence = WRONG[what]
    assert wrong[what].returncode == 2, wrong[what].stderr
    assert sentence in wrong[what].stderr
    assert "Traceback" not in wrong[what].stderr


def test_a_service_of_that_name_in_another_cloud(staged, control_plane, deployed):
    before = control_plane.applies()
    ended = staged.run("deploy", SERVICE, "--name", deployed, "--cloud", "other", "--yes")
    assert ended.returncode == 2
    assert "would not move it but start a second one" in ended.stderr
    assert control_plane.applies() == before


@pytest.mark.parametrize("fault", ["service_state", "version_state"])
def test_a_state_that_is_not_known_here(staged, control_plane, deployed, fault):
    before = control_plane.applies()
    control_plane.faults(**{fault: "HIBERNATING"})
    ended = staged.run("rollout", SERVICE, "--name", deployed, *ROLLOUT)
    assert ended.returncode == 2
    assert "does not know" in ended.stderr
    assert control_plane.applies() == before


# Faults


def test_an_image_that_does_not_build(staged, control_plane, name):
    control_plane.faults(build_fails=True)
    ended = staged.run("deploy", "gpt-oss", "--name", name, "--yes")
    assert ended.returncode == 2
    assert "build: " in ended.stderr, "the build's log was not shown"
    assert "Image build" in ended.stderr or "build" in ended.stderr.splitlines()[-1]


def test_a_first_deploy_that_never_gets_healthy_is_left_to_look_at(staged, control_plane, name):
    control_plane.faults(never_healthy=True)
    ended = staged.run("deploy", SERVICE, "--name", name, "--yes", "--start-timeout", "10s")
    assert ended.returncode == 1
    assert f"scripts/logs {SERVICE} --name {name}" in ended.stderr
    assert f"scripts/terminate {SERVICE} --name {name}" in ended.stderr
    assert on_anyscale(staged, name)["current_state"] == "STARTING"


def test_an_api_that_hangs(staged, control_plane, deployed):
    control_plane.faults(api_hangs_s=35, api_times=1, api_path="/services-v2")
    ended = staged.run("status", SERVICE, "--name", deployed)
    assert ended.returncode == 0, ended.stderr
    assert "did not answer within" in ended.stderr


def test_an_apply_whose_answer_is_lost_is_not_done_twice(staged, control_plane, deployed):
    before = len(control_plane.traffic(deployed)["versions"])
    control_plane.faults(lose_apply_reply=True)
    ended = staged.run("rollout", SERVICE, "--name", deployed, *AT_ONCE)
    assert ended.returncode == 0, ended.stderr
    assert len(control_plane.traffic(deployed)["versions"]) == before + 1
