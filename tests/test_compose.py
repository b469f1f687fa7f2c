"""docker-compose.yml, Dockerfile, .env.example: no default secret, nothing open, nothing floating.

No engine is needed; the last tests ask the compose client where there is one.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet

ROOT = Path(__file__).parents[1]
COMPOSE_FILE = ROOT / "docker-compose.yml"
COMPOSE = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES = COMPOSE["services"]
ONE_SHOT = {"init"}
LONG_RUNNING = {"postgres", "api-server", "scheduler", "dag-processor"}
AIRFLOW = ONE_SHOT | LONG_RUNNING - {"postgres"}
SECRETS = {
    "POSTGRES_PASSWORD",
    "AIRFLOW_FERNET_KEY",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_SECRET_KEY",
    "AIRFLOW_ADMIN_PASSWORD",
    "ATTRIBUTION_HMAC_KEY",
}
SECRET_NAME = re.compile(r"PASSWORD|SECRET|KEY|TOKEN|CREDENTIAL")
PINNED = re.compile(r"[\w./-]+(:\d+\.\d+[\w.-]*|(:[\w.-]+)?@sha256:[0-9a-f]{64})")


def instructions():
    """The Dockerfile as (instruction, rest of the logical line)."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def arguments(instruction):
    return [rest for name, rest in instructions() if name == instruction]


def image_environment():
    return dict(pair.split("=", 1) for rest in arguments("ENV") for pair in shlex.split(rest))


def strings(node):
    if isinstance(node, dict):
        node = [*node, *node.values()]
    if isinstance(node, list):
        return [text for child in node for text in strings(child)]
    return [node] if isinstance(node, str) else []


def airflow_commands():
    """Every call of the airflow command line: services, health checks, lines of init."""
    lists = [s["command"] for s in SERVICES.values() if "command" in s]
    lists += [s["healthcheck"]["test"][1:] for s in SERVICES.values() if "healthcheck" in s]
    lines = [line for words in lists for text in words for line in text.splitlines()]
    lists += [shlex.split(line) for line in lines if line.startswith("airflow ")]
    return [words[1:] for words in lists if words[0] == "airflow"]


def example():
    """.env.example as name -> (command that generates it, value)."""
    found = re.findall(r"^# (.+)\n([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
    return {name: (command, value) for command, name, value in found}


@pytest.fixture(scope="module")
def generated():
    """Values for .env, made with the commands that .env.example names."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    return {
        name: subprocess.run(
            ["sh", "-c", command], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name, (command, _) in example().items()
    }


def test_schema():
    checker = Path(sys.executable).with_name("check-jsonschema")
    run = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_services_are_the_ones_these_tests_know():
    assert set(SERVICES) == ONE_SHOT | LONG_RUNNING
    assert {n for n, s in SERVICES.items() if s["restart"] == "no"} == ONE_SHOT
    assert {n for n, s in SERVICES.items() if s["restart"] == "unless-stopped"} == LONG_RUNNING


def test_every_secret_is_required_and_nothing_else_is_asked_for():
    references = [
        reference
        for text in strings(COMPOSE)
        for reference in re.findall(r"\$(\w+|\{[^}]*\})", text.replace("$$", ""))
    ]
    required = {r[1:].split(":?")[0] for r in references if re.fullmatch(r"\{\w+:\?[^}]+\}", r)}
    assert required == SECRETS
    others = [r for r in references if not re.fullmatch(r"\{\w+:\?[^}]+\}", r)]
    assert others == ["{ATTRIBUTION_DATA:-attribution}"]


@pytest.mark.parametrize("name", sorted(ONE_SHOT | LONG_RUNNING))
def test_no_literal_secret_in_the_environment(name):
    service = SERVICES[name]
    assert "env_file" not in service
    assert isinstance(service["environment"], dict)
    for key, value in service["environment"].items():
        if SECRET_NAME.search(key) and not key.endswith("_FILE"):
            assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{key} is not ${{VAR:?message}}"
        assert not re.search(r"://[^/@\s]*:[^/@\s]+@", str(value)), f"password in the URL of {key}"


def test_only_the_service_that_needs_it_gets_the_pseudonym_key_or_the_admin_password():
    def holders(secret):
        return {n for n, s in SERVICES.items() if any(secret in t for t in strings(s))}

    assert holders("${ATTRIBUTION_HMAC_KEY:") == {"scheduler"}
    assert holders("${AIRFLOW_ADMIN_PASSWORD:") == {"init"}


def test_ports_are_published_on_the_loopback_only():
    published = {n: s["ports"] for n, s in SERVICES.items() if "ports" in s}
    assert set(published) == {"api-server"}
    for port in published["api-server"]:
        host = port.get("host_ip") if isinstance(port, dict) else str(port).split(":")[0]
        assert host == "127.0.0.1", port
    assert not [n for n, s in SERVICES.items() if "network_mode" in s]


def test_images_are_pinned():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, service in SERVICES.items():
        assert PINNED.fullmatch(service["image"]), f"{name}: {service['image']}"
    for name in AIRFLOW:
        assert SERVICES[name]["image"] == f"attribution:{version}", "tag: version in pyproject.toml"
        assert SERVICES[name]["build"] == "."
        assert SERVICES[name]["pull_policy"] == "build"  # or a registry may answer for the name
    (base,) = arguments("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base), base


@pytest.mark.parametrize("name", sorted(ONE_SHOT | LONG_RUNNING))
def test_least_privilege(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service)
    assert not [v for v in service["volumes"] if "docker.sock" in str(v)]
    user = service.get("user")  # absent: the user of our image, which the Dockerfile test checks
    assert user is None if name in AIRFLOW else user == "postgres"


@pytest.mark.parametrize("name", sorted(LONG_RUNNING))
def test_long_running_services_are_watched(name):
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert len(check["test"]) > 1
    assert {"interval", "timeout", "retries"} <= set(check)
    assert "disable" not in check


def test_each_service_waits_until_what_it_needs_is_ready():
    assert "depends_on" not in SERVICES["postgres"]
    needs = {n: SERVICES[n]["depends_on"] for n in AIRFLOW}
    for name, dependencies in needs.items():
        assert dependencies, name
        for other, wait in dependencies.items():
            ready = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            assert wait["condition"] == ready, f"{name} on {other}"
    assert set(needs["init"]) == {"postgres"}
    assert set(needs["api-server"]) == set(needs["dag-processor"]) == {"init"}
    assert set(needs["scheduler"]) == {"api-server"}


def test_volumes_stand_where_the_image_expects_them():
    home = image_environment()
    targets = {n: {v.rpartition(":")[2] for v in s["volumes"]} for n, s in SERVICES.items()}
    assert {n for n in SERVICES if home["AIRFLOW_HOME"] in targets[n]} == AIRFLOW
    assert {n for n in SERVICES if home["ATTRIBUTION_HOME"] in targets[n]} == {"scheduler"}
    assert home["ATTRIBUTION_HOME"] == "/var/lib/attribution"


def test_airflow_knows_every_option_and_command(tmp_path):
    script = """
import contextlib, io, json, sys
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf

asked = json.load(sys.stdin)
described = conf.configuration_description
problems = []
for name in asked["options"]:
    section, option = name.removeprefix("AIRFLOW__").lower().split("__")
    entry = described.get(section, {"options": {}})["options"].get(option)
    if entry is None or entry.get("version_deprecated"):
        problems.append(name)
for command in asked["commands"]:
    with contextlib.redirect_stderr(io.StringIO()) as error:
        try:
            get_parser().parse_args(command)
        except SystemExit:
            problems.append(" ".join(command) + ": " + error.getvalue())
print(json.dumps(problems))
"""
    environments = [s["environment"] for s in SERVICES.values()] + [image_environment()]
    options = sorted({k for e in environments for k in e if k.startswith("AIRFLOW__")})
    commands = airflow_commands()
    assert len(options) >= 8
    assert [c[0] for c in commands].count("jobs") == 2
    assert {"api-server", "scheduler", "dag-processor", "db", "pools"} <= {c[0] for c in commands}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    run = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps({"options": options, "commands": commands}),
        env=clean | {"AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == []


def test_init_makes_the_pool_of_one_slot():
    assert ["pools", "set", "attribution", "1"] in [c[:4] for c in airflow_commands()]


def test_dockerfile_runs_as_an_unprivileged_user():
    assert arguments("USER")[-1] == "50000:50000"
    assert [name for name, _ in instructions()][-2:] == ["USER", "CMD"]


def test_dockerfile_installs_only_what_the_lock_names():
    installs = [part for rest in arguments("RUN") for part in rest.split("&&") if "pip " in part]
    locked, package = (shlex.split(part) for part in installs)
    assert {"--require-hashes", "requirements.txt"} <= set(locked)
    assert {"--no-deps", "--no-build-isolation", "."} <= set(package)
    assert not arguments("ADD")


def test_dockerfile_bakes_in_no_secret():
    assert not arguments("ARG")
    assert not [key for key in image_environment() if SECRET_NAME.search(key)]


def test_dockerfile_copies_what_is_there_and_the_context_holds_nothing_else():
    sources = {s for rest in arguments("COPY") for s in shlex.split(rest)[:-1]}
    assert sources >= {"attribution/", "dags/", "dbt_project/", "expectations/", "pyproject.toml"}
    assert not [s for s in sorted(sources) if not (ROOT / s).exists()]
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == sources
    assert {"**/.env*", "**/*.duckdb*"} <= set(rules)


def test_env_example_names_each_secret_and_holds_none():
    assert set(example()) == SECRETS
    assert {value for _, value in example().values()} == {""}
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_env_example_commands_make_good_keys(generated):
    assert min(len(value) for value in generated.values()) >= 32
    assert len(set(generated.values())) == len(SECRETS)
    Fernet(generated["AIRFLOW_FERNET_KEY"])
    assert len(generated["AIRFLOW_JWT_SECRET"]) >= 64  # bytes of a key for HS512


@pytest.fixture(scope="module")
def compose_config():
    docker = shutil.which("docker")
    version = docker and subprocess.run([docker, "compose", "version"], capture_output=True)
    if not version or version.returncode:
        pytest.skip("no docker client with the compose plugin")

    def config(environment):
        command = [docker, "compose", "--env-file", os.devnull, "--file", COMPOSE_FILE]
        kept = {k: os.environ[k] for k in ("PATH", "HOME", "DOCKER_CONFIG") if k in os.environ}
        return subprocess.run(
            [*command, "config", "--quiet"], env=kept | environment, capture_output=True, text=True
        )

    return config


def test_compose_accepts_the_file(compose_config, generated):
    run = compose_config(generated)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_compose_refuses_to_start_without(missing, compose_config, generated):
    run = compose_config({k: v for k, v in generated.items() if k != missing})
    assert run.returncode != 0
    assert missing in run.stderr
