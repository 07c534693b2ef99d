"""Everything in deploy/ that can be checked without a container engine, a cluster or systemd as
process 1.

    deploy_test.py MOERING
"""
import os
import re
import sys
import tempfile

from deploy_files import (DEPLOY, HERE, ROOT, board_queries, boards, concrete, documents, have,
                          kustomize, metric_names, panels, path, read, run, run_cases, vllm_queries,
                          yaml)

MOERING = sys.argv[1]
OVERLAYS = ("cpu", "gpu", "hugepages")
COMPONENTS = ("../../components/monitoring", "../../components/autoscaling")
# Read by scripts and compose, not settings of the server.
SCRIPT_VARIABLES = {"MOERING_BUILD", "MOERING_CUDA", "MOERING_GRPC_PORT", "MOERING_BUILTIN_MODEL",
                    "MOERING_MIRROR", "MOERING_TRY_INSIDE", "MOERING_MODELS", "MOERING_TESTS"}


def deploy_files(*endings):
    for folder, _, names in os.walk(DEPLOY):
        for name in names:
            if name.endswith(endings) or (not endings and "." not in name):
                yield os.path.join(folder, name)


def flags():
    """Flag -> its help, as `moering serve --help` tells."""
    text = run(MOERING, "serve", "--help")
    return {m.group(1): m.group(0)
            for m in re.finditer(r"^ *--([a-z][a-z-]+) .*\n(?: {20,}.*\n)*", text, re.M)}


def number(text, pattern):
    found = re.search(pattern, text, re.M)
    assert found, "%s is not there" % pattern
    return int(found.group(1))


# ---- tools ----

def scripts_are_clean():
    scripts = [os.path.relpath(s, ROOT) for s in deploy_files(".sh")]
    control = [path("package", n) for n in ("postinst", "prerm", "postrm")]
    for script in scripts + control:
        with open(os.path.join(ROOT, script), encoding="utf-8") as f:
            assert f.readline().startswith(("#!/", "# shellcheck shell=")), script
    assert len(scripts) >= 3
    # It is checked in those that source it.
    scripts.remove(os.path.join("deploy", "packages.sh"))
    if have("shellcheck", "shellcheck"):
        run("shellcheck", "-x", *scripts, *control, cwd=ROOT)


def yaml_is_clean():
    names = [n for n in deploy_files(".yaml", ".yml")]
    assert len(names) > 15
    for name in names:
        with open(name, encoding="utf-8") as f:
            list(yaml.safe_load_all(f))
    if have("yamllint", "yamllint"):
        run("yamllint", "--strict", "-c", path(".yamllint.yaml"), DEPLOY)


def prometheus_takes_its_files():
    if not have("promtool", "prometheus"):
        return
    run("promtool", "check", "config", path("prometheus", "prometheus.yml"))
    run("promtool", "check", "rules", path("prometheus", "rules", "moering.yml"))


def alerts_fire_when_they_should_and_not_before():
    if not have("promtool", "prometheus"):
        return
    with tempfile.TemporaryDirectory() as folder:
        for source, name in ((path("prometheus", "rules", "moering.yml"), "moering.yml"),
                             (os.path.join(HERE, "rules_test.yml"), "rules_test.yml")):
            with open(source, encoding="utf-8") as f, \
                    open(os.path.join(folder, name), "w", encoding="utf-8") as out:
                out.write(f.read())
        run("promtool", "test", "rules", os.path.join(folder, "rules_test.yml"))


def every_alert_is_tested():
    groups = documents("prometheus", "rules", "moering.yml")[0]["groups"]
    with open(os.path.join(HERE, "rules_test.yml"), encoding="utf-8") as f:
        tests = f.read()
    for rule in (r for g in groups for r in g["rules"]):
        if "alert" in rule:
            assert "alertname=\"%s\"" % rule["alert"] in tests, rule["alert"]
            assert rule["labels"]["severity"] in ("info", "warning", "critical")
            assert rule["annotations"]["summary"] and rule["annotations"]["description"]


# ---- the unit ----

def unit_text(bindir):
    text = read("systemd", "moering.service.in")
    for name, value in (("bindir", bindir), ("confdir", "/etc/moering"),
                        ("docdir", "/usr/share/doc/moering")):
        text = text.replace("@%s@" % name, value)
    assert "@" not in text.replace("@system-service", "").replace("@aio", "").replace(
        "@memlock", ""), "a place is left open"
    return text


def systemd_takes_the_unit():
    if not have("systemd-analyze", "systemd"):
        return
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "moering.service")
        with open(name, "w", encoding="utf-8") as f:
            f.write(unit_text(os.path.dirname(MOERING)))
        said = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", name)
        assert "moering.service" not in said, said
        # Exposure 0 (nothing may be done) to 100; below 20 is what systemd calls OK.
        run("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", name)


def the_unit_waits_for_a_drain():
    text = unit_text("/usr/bin")
    stop = number(text, r"^TimeoutStopSec=(\d+)$")
    assert stop > documents("moering.yaml")[0]["shutdown-timeout"] + 2
    for line in ("Type=notify", "DynamicUser=yes", "ProtectSystem=strict", "LimitMEMLOCK=infinity",
                 "ExecReload=/bin/sh -c 'kill -HUP $MAINPID'"):
        assert "\n%s\n" % line in text, line


# ---- names that the server must know ----

def variables_are_settings():
    known = {"MOERING_" + f.upper().replace("-", "_") for f in flags()} | SCRIPT_VARIABLES
    seen = set()
    for name in [*deploy_files(".sh", ".yaml", ".yml", ".in", ".cuda", ".md"), path("Dockerfile")]:
        with open(name, encoding="utf-8") as f:
            for variable in re.findall(r"\bMOERING_[A-Z_]*[A-Z]\b", f.read()):
                assert variable in known, "%s: %s is no setting" % (name, variable)
                seen.add(variable)
    assert "MOERING_HOST" in seen and "MOERING_METRICS_PUBLIC" in seen


def settings_are_settings():
    """Those that are commented out, too: somebody will take the '#' away."""
    known = set(flags())
    for name in ("moering.yaml", os.path.join("k8s", "base", "moering.yaml")):
        keys = re.findall(r"^(?:# )?([a-z][a-z-]+): \S+$", read(name), re.M)
        assert len(keys) >= 3, name
        for key in keys:
            assert key in known, "%s: %s is no setting" % (name, key)
        given = documents(name)[0]
        assert set(given) <= set(keys)


def settings_are_accepted():
    """By the parser itself: a wrong model path is then the first thing to be wrong."""
    for name in ("moering.yaml", os.path.join("k8s", "base", "moering.yaml")):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "moering.yaml")
            with open(file, "w", encoding="utf-8") as f:
                f.write(read(name))
            said = run(MOERING, "serve", "/nowhere/model", "--config", file, "--grpc-port", "0",
                       "--port", "0", code=1)
            assert "/nowhere/model" in said.splitlines()[-1], said


def ports_are_the_defaults():
    given = flags()
    for flag, port in (("port", 8000), ("grpc-port", 8001)):
        assert "default: %d\n" % port in given[flag], given[flag]
    for name in ("Dockerfile", "Dockerfile.cuda"):
        assert "\nEXPOSE 8000 8001\n" in read(name)
    settings = documents("moering.yaml")[0]
    assert (settings["port"], settings["grpc-port"]) == (8000, 8001)


# ---- images ----

def instructions(name):
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", read(name), flags=re.M))
    return [line.split(None, 1) for line in text.splitlines() if line.strip()]


def images_are_as_agreed():
    for name in ("Dockerfile", "Dockerfile.cuda"):
        steps = instructions(name)
        last = max(i for i, (word, _) in enumerate(steps) if word == "FROM")
        final = {word: rest for word, rest in steps[last:]}
        assert sum(word == "FROM" for word, _ in steps) >= 2, "the build stage is not shipped"
        assert final["USER"] == "10001:10001" and final["STOPSIGNAL"] == "SIGTERM"
        assert final["ENTRYPOINT"] == '["moering"]' and final["CMD"] == '["serve"]'
        assert final["HEALTHCHECK"].endswith('CMD ["moering", "health"]')
        assert ["ENV", "MOERING_HOST=0.0.0.0"] in steps[last:]
        assert ["ARG", "BASE=debian:bookworm-slim"] in steps
        for label in ("title", "description", "licenses", "version", "revision"):
            assert "org.opencontainers.image.%s=" % label in final["LABEL"], label


def images_copy_all_that_builds():
    """Each folder that CMakeLists.txt takes in, and each file that install.cmake lays down."""
    tops = set(re.findall(r"add_subdirectory\((\w+)\)|moering_library\(\w+ (\w+)",
                          open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8").read()))
    needed = {a or b for a, b in tops} - {"tests"} | {"deploy", "README.md", "LICENSE",
                                                       "ARCHITECTURE.md", "CMakeLists.txt"}
    for name in ("Dockerfile", "Dockerfile.cuda"):
        copied = set()
        for word, rest in instructions(name):
            if word == "COPY":
                copied.update(w.rstrip("/") for w in rest.split()[:-1])
        for source in copied:
            assert os.path.exists(os.path.join(ROOT, source)), (name, source)
        assert needed <= copied, (name, needed - copied)


def the_images_differ_only_in_cuda():
    ours = [s for s in instructions("Dockerfile") if s[0] in ("COPY", "ENV", "USER", "WORKDIR",
                                                              "EXPOSE", "HEALTHCHECK", "CMD")]
    cuda = instructions("Dockerfile.cuda")
    for step in ours:
        assert step in cuda, step


def try_dockerfile_knows_our_instructions():
    known = re.search(r"^    case \"\$name\" in\n(.*?)^    esac", read("try-dockerfile.sh"),
                      re.M | re.S).group(1)
    words = set(re.findall(r"\b[A-Z]{3,}\b", known))
    for name in ("Dockerfile", "Dockerfile.cuda"):
        assert {word for word, _ in instructions(name)} <= words


# ---- compose ----

def compose_fits_together():
    compose = documents("compose.yaml")[0]
    services = compose["services"]
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert tag and tag != "latest", "%s: %s is not pinned" % (name, service["image"])
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), "%s publishes %s to everybody" % (name, port)
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert os.path.exists(path(source)), source
            elif not source.startswith("$"):
                assert source in compose["volumes"], source
    for name, profile, dockerfile in (("moering-cpu", "cpu", "Dockerfile"),
                                      ("moering-gpu", "gpu", "Dockerfile.cuda")):
        service = services[name]
        assert service["profiles"] == [profile]
        assert os.path.samefile(os.path.join(path(service["build"]["context"]),
                                             service["build"]["dockerfile"]), path(dockerfile))
        assert service["healthcheck"]["test"] == ["CMD", "moering", "health"]
        assert service["ulimits"]["memlock"] == -1 and service["read_only"]
        assert int(service["stop_grace_period"].rstrip("s")) > 30 + 2
    gpu = services["moering-gpu"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert gpu["driver"] == "nvidia" and gpu["capabilities"] == ["gpu"]


def prometheus_and_grafana_find_what_they_read():
    compose = documents("compose.yaml")[0]["services"]
    aliases = {a for n in ("moering-cpu", "moering-gpu")
               for a in compose[n]["networks"]["default"]["aliases"]} | set(compose)
    jobs = documents("prometheus", "prometheus.yml")[0]["scrape_configs"]
    for target in (t for j in jobs for s in j["static_configs"] for t in s["targets"]):
        host, port = target.split(":")
        assert host in aliases and port == "8000", target
    source = documents("grafana", "provisioning", "datasources", "prometheus.yaml")[0]
    assert re.match(r"http://(\w+):9090$", source["datasources"][0]["url"]).group(1) in compose
    provider = documents("grafana", "provisioning", "dashboards", "moering.yaml")[0]["providers"][0]
    mounts = dict(v.split(":")[:2] for v in compose["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert os.path.exists(path("grafana", "dashboards", os.path.basename(home)))


# ---- Kubernetes ----

def overlay(name, components=COMPONENTS):
    docs = kustomize(path("k8s", "overlays", name), components)
    return {kind: [d for d in docs if d["kind"] == kind] for kind in {d["kind"] for d in docs}}


def pods_are_selected_and_probed():
    for name in OVERLAYS:
        docs = overlay(name)
        deployment, = docs["Deployment"]
        template = deployment["spec"]["template"]
        labels = template["metadata"]["labels"]
        selectors = [s["spec"]["selector"] for s in docs["Service"]]
        selectors += [d["spec"]["selector"]["matchLabels"]
                      for d in docs["PodDisruptionBudget"] + docs["PodMonitor"] + [deployment]]
        for selector in selectors:
            assert selector and selector.items() <= labels.items(), (name, selector)
        container, = template["spec"]["containers"]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        assert ports == {"http": 8000, "grpc": 8001}
        for service in docs["Service"]:
            for port in service["spec"]["ports"]:
                assert ports[port["targetPort"]] == port["port"]
        for probe, route in (("startup", "/health"), ("readiness", "/readyz"),
                             ("liveness", "/livez")):
            get = container[probe + "Probe"]["httpGet"]
            assert get["path"] == route and get["port"] in ports
        assert docs["PodMonitor"][0]["spec"]["podMetricsEndpoints"][0]["port"] in ports


def pods_have_time_to_drain():
    for name in OVERLAYS:
        docs = overlay(name)
        spec = docs["Deployment"][0]["spec"]["template"]["spec"]
        sleep = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert sleep[0] == "sleep"
        settings = yaml.safe_load(docs["ConfigMap"][0]["data"]["moering.yaml"])
        assert (spec["terminationGracePeriodSeconds"] >
                int(sleep[1]) + settings["shutdown-timeout"] + 2), name


def pods_may_do_nothing_else():
    for name in OVERLAYS:
        spec = overlay(name)["Deployment"][0]["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"]
        assert spec["securityContext"]["runAsUser"] == 10001
        for container in spec["containers"] + spec.get("initContainers", []):
            may = container["securityContext"]
            assert may["readOnlyRootFilesystem"] and may["capabilities"]["drop"] == ["ALL"]
            assert may["allowPrivilegeEscalation"] is False


def volumes_are_there():
    for name in OVERLAYS:
        docs = overlay(name)
        spec = docs["Deployment"][0]["spec"]["template"]["spec"]
        claims = {d["metadata"]["name"] for d in docs["PersistentVolumeClaim"]}
        maps = {d["metadata"]["name"]: d["data"] for d in docs["ConfigMap"]}
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert "moering.yaml" in maps[volume["configMap"]["name"]]
            else:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
        mounts = {m["name"]: m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
        assert set(mounts) == {v["name"] for v in spec["volumes"]}
        args = spec["containers"][0]["args"]
        assert args == ["serve", "--config", mounts["settings"] + "/moering.yaml"]


def overlays_are_what_they_say():
    cpu, gpu, huge = (overlay(n)["Deployment"][0]["spec"]["template"]["spec"] for n in OVERLAYS)
    assert cpu["containers"][0]["image"] == huge["containers"][0]["image"] == "moering:cpu"
    assert gpu["containers"][0]["image"] == "moering:cuda"
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "MOERING_DEVICE", "value": "cuda"} in gpu["containers"][0]["env"]
    for container in huge["containers"] + huge["initContainers"]:
        assert container["resources"]["requests"] == container["resources"]["limits"]


def the_autoscaler_scales_by_waiting_requests():
    docs = overlay("cpu")
    hpa = docs["HorizontalPodAutoscaler"][0]["spec"]
    deployment = docs["Deployment"][0]
    assert hpa["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"], "two would set it"
    rule = documents("k8s", "components", "autoscaling", "adapter-rule.yaml")[0]
    rule = rule["rules"]["custom"][0]
    assert rule["seriesQuery"].startswith("vllm:num_requests_waiting{")
    assert re.match(rule["name"]["matches"], "vllm:num_requests_waiting")
    assert hpa["metrics"][0]["pods"]["metric"]["name"] == rule["name"]["as"]


def the_operator_gets_the_same_rules():
    rule = documents("k8s", "components", "monitoring", "prometheusrule.yaml")[0]
    assert rule["spec"] == documents("prometheus", "rules", "moering.yml")[0]


def kustomize_agrees():
    """The real one, where it is installed: same kinds, same pods."""
    if not have("kubectl", "none: Kubernetes' own kubectl"):
        return
    for name in OVERLAYS:
        theirs = [d for d in yaml.safe_load_all(run("kubectl", "kustomize",
                                                    path("k8s", "overlays", name))) if d]
        ours = kustomize(path("k8s", "overlays", name))
        assert sorted(d["kind"] for d in theirs) == sorted(d["kind"] for d in ours)
        pods = [next(d for d in docs if d["kind"] == "Deployment")["spec"]["template"]
                for docs in (theirs, ours)]
        for pod in pods: # its generated maps have the hash of what is in them in their names
            for volume in pod["spec"]["volumes"]:
                volume.pop("configMap", None)
        assert pods[0] == pods[1], name


# ---- boards ----

def boards_are_well_formed():
    found = 0
    for name, board in boards():
        found += 1
        ids = [p["id"] for p in panels(board)]
        assert len(ids) == len(set(ids)) and board["uid"] and board["title"], name
        taken = set()
        for p in panels(board):
            g = p["gridPos"]
            assert g["x"] + g["w"] <= 24, (name, p["title"])
            cells = {(x, y) for x in range(g["x"], g["x"] + g["w"])
                     for y in range(g["y"], g["y"] + g["h"])}
            assert not cells & taken, "%s: %s lies on another panel" % (name, p["title"])
            taken |= cells
            if p["type"] == "row":
                continue
            assert p["description"] and p["targets"], "%s: %s" % (name, p["title"])
            sources = [p["datasource"], *(t["datasource"] for t in p["targets"])]
            assert all(s == {"type": "prometheus", "uid": "${datasource}"} for s in sources)
    assert found


def queries_are_promql():
    queries = [concrete(q) for q in board_queries() + vllm_queries()]
    assert len(queries) > 60
    assert all(metric_names(q) for q in queries)
    if not have("promtool", "prometheus"):
        return
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "queries.yml")
        rules = [{"record": "query:%d" % i, "expr": q} for i, q in enumerate(queries)]
        with open(name, "w", encoding="utf-8") as f:
            yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}, f)
        run("promtool", "check", "rules", name)


CASES = [scripts_are_clean, yaml_is_clean, prometheus_takes_its_files,
         alerts_fire_when_they_should_and_not_before, every_alert_is_tested,
         systemd_takes_the_unit, the_unit_waits_for_a_drain, variables_are_settings,
         settings_are_settings, settings_are_accepted, ports_are_the_defaults, images_are_as_agreed,
         images_copy_all_that_builds, the_images_differ_only_in_cuda,
         try_dockerfile_knows_our_instructions, compose_fits_together,
         prometheus_and_grafana_find_what_they_read, pods_are_selected_and_probed,
         pods_have_time_to_drain, pods_may_do_nothing_else, volumes_are_there,
         overlays_are_what_they_say, the_autoscaler_scales_by_waiting_requests,
         the_operator_gets_the_same_rules, kustomize_agrees, boards_are_well_formed,
         queries_are_promql]

if __name__ == "__main__":
    sys.exit(run_cases(CASES))
