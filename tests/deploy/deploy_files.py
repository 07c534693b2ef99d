"""What the tests of deploy/ share: paths, YAML, boards, and just enough of kustomize."""
import copy
import glob
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.environ.get("MOERING_SOURCE_DIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", ".."))
DEPLOY = os.path.join(ROOT, "deploy")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from grpc_wire import need, run_cases, skip  # noqa: E402,F401 (for those who import this)

yaml = need("yaml", "python3-yaml")


def path(*names):
    return os.path.join(DEPLOY, *names)


def read(*names):
    with open(path(*names), encoding="utf-8") as f:
        return f.read()


def documents(*names):
    return [d for d in yaml.safe_load_all(read(*names)) if d is not None]


def have(program, package):
    """False, with a line that says so, where a tool is missing: that case is then skipped."""
    if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return True
    print("     skipped: %s (Debian package %s) is not installed" % (program, package))
    return False


def run(*words, code=0, **kw):
    r = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, check=False, timeout=300, **kw)
    assert r.returncode == code, "%s ended with %d:\n%s" % (words, r.returncode, r.stdout[-4000:])
    return r.stdout


# ---- queries ----

def boards():
    for name in sorted(glob.glob(path("grafana", "dashboards", "*.json"))):
        with open(name, encoding="utf-8") as f:
            yield os.path.basename(name), json.load(f)


def panels(board):
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def board_queries():
    return [t["expr"] for _, board in boards() for p in panels(board) for t in p.get("targets", [])]


def vllm_queries():
    with open(os.path.join(HERE, "vllm_board.txt"), encoding="utf-8") as f:
        return [line.strip() for line in f if line.strip() and not line.startswith("#")]


def concrete(query, window="10s", model_name="m", instance=".*"):
    """A query of a board as Grafana sends it."""
    for name, value in (("$__rate_interval", window), ("$model_name", model_name),
                        ("$instance", instance)):
        query = query.replace(name, value)
    assert "$" not in query, "no such variable: " + query
    return query


def metric_names(query):
    return set(re.findall(r"\b(?:vllm:|moering_)[a-z0-9_]+", query))


# ---- kustomize ----

def _apply(doc, patch):
    for op in yaml.safe_load(patch):
        at = doc
        *way, last = [int(w) if w.isdigit() else w for w in op["path"].strip("/").split("/")]
        for key in way:
            at = at[key]
        if op["op"] in ("replace", "remove"):
            assert last in at, "%(op)s %(path)s: nothing is there" % op
        if op["op"] == "remove":
            del at[last]
        else:
            at[last] = copy.deepcopy(op["value"])


def _label(doc, labels):
    doc.setdefault("metadata", {}).setdefault("labels", {}).update(labels)
    spec = doc.get("spec", {})
    if doc["kind"] == "Service":
        spec.setdefault("selector", {}).update(labels)
    if doc["kind"] in ("Deployment", "PodDisruptionBudget"):
        spec.setdefault("selector", {}).setdefault("matchLabels", {}).update(labels)
    if doc["kind"] == "Deployment":
        spec["template"].setdefault("metadata", {}).setdefault("labels", {}).update(labels)


def kustomize(folder, components=()):
    """The documents that an overlay gives: resources, labels, generated config maps, JSON patches,
    image tags and components, which is what ours use; anything else is an error."""
    with open(os.path.join(folder, "kustomization.yaml"), encoding="utf-8") as f:
        rules = yaml.safe_load(f)
    unknown = set(rules) - {"apiVersion", "kind", "resources", "labels", "configMapGenerator",
                            "patches", "images", "components"}
    assert not unknown, (folder, unknown)
    docs = []
    for name in rules.get("resources", []):
        target = os.path.join(folder, name)
        if os.path.isdir(target):
            docs += kustomize(target)
        else:
            with open(target, encoding="utf-8") as f:
                docs += [d for d in yaml.safe_load_all(f) if d]
    for made in rules.get("configMapGenerator", []):
        data = {}
        for name in made["files"]:
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                data[os.path.basename(name)] = f.read()
        docs.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": made["name"]},
                     "data": data})
    for labels in rules.get("labels", []):
        for doc in docs:
            _label(doc, labels["pairs"])
    for component in [*rules.get("components", []), *components]:
        docs += kustomize_component(os.path.join(folder, component), docs)
    _patch(docs, rules)
    return docs


def kustomize_component(folder, docs):
    with open(os.path.join(folder, "kustomization.yaml"), encoding="utf-8") as f:
        rules = yaml.safe_load(f)
    assert rules["kind"] == "Component", folder
    _patch(docs, rules)
    new = []
    for name in rules.get("resources", []):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            new += [d for d in yaml.safe_load_all(f) if d]
    return new


def _patch(docs, rules):
    for patch in rules.get("patches", []):
        want = patch["target"]
        hit = [d for d in docs
               if d["kind"] == want["kind"] and d["metadata"]["name"] == want["name"]]
        assert hit, "no %(kind)s %(name)s to patch" % want
        for doc in hit:
            _apply(doc, patch["patch"])
    for image in rules.get("images", []):
        for doc in docs:
            if doc["kind"] != "Deployment":
                continue
            spec = doc["spec"]["template"]["spec"]
            for c in spec["containers"] + spec.get("initContainers", []):
                if c["image"].split(":")[0] == image["name"]:
                    c["image"] = "%s:%s" % (image["name"], image["newTag"])
