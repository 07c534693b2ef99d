#!/usr/bin/env python3
"""moering-client chat and top as people use them: over pipes and on a terminal.

    client_talk_test.py MOERING MOERING_CLIENT
"""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

from grpc_wire import run_cases
from moering_wire import Server, pb

MOERING, CLIENT = sys.argv[1:3]
STEADY = ("--temperature", "0", "-n", "12")


def environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("MOERING_")}


def chat(server, lines, *flags, code=0):
    r = subprocess.run([CLIENT, "chat", "--connect", server.address, *flags],
                       input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=60,
                       env=environment(), check=False)
    assert r.returncode == code, (r.returncode, r.stdout, r.stderr)
    return r


def asked(server, *messages):
    """What the server says to a whole conversation."""
    call = server.stub.channel.unary_stream("/moering.v1.Moering/Chat",
                                            pb.ChatRequest.SerializeToString,
                                            pb.GenerateChunk.FromString)
    m = pb.ChatRequest(generate=pb.GenerateRequest(max_tokens=12,
                                                   sampling=pb.SamplingParams(temperature=0)))
    for role, text in messages:
        m.messages.add(role=role, content=text.encode())
    return b"".join(c.text for c in call(m)).decode()


def saved(server, lines, *flags, **kw):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "talk.json")
        r = chat(server, [*lines, "/save " + path], *flags, **kw)
        with open(path, encoding="utf-8") as f:
            return r, [(m["role"], m["content"]) for m in json.load(f)["messages"]]


class Terminal:
    """A program on a terminal of its own. Spawned, not forked: gRPC's threads are in this process,
    and a fork that meets one of them holding a lock would hang."""

    def __init__(self, *words, rows=30, columns=100, **variables):
        self.seen = ""
        self.fd, slave = pty.openpty()
        self.resize(rows, columns)
        # The leader of a session gets the first terminal that it opens.
        actions = [(os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
                   (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2),
                   (os.POSIX_SPAWN_CLOSE, self.fd), (os.POSIX_SPAWN_CLOSE, slave)]
        self.process = os.posix_spawn(words[0], list(words),
                                      {**environment(), "TERM": "xterm", **variables},
                                      setsid=True, file_actions=actions)
        os.close(slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        try:
            more = os.read(self.fd, 65536) if ready else b""
        except OSError:
            more = b""
        self.seen += more.decode(errors="replace")
        return bool(more)

    def until(self, text, seconds=30):
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, (text, self.seen[-2000:])
            self.read(0.2)
        self.seen = self.seen[self.seen.index(text) + len(text):]

    def wait(self, seconds=30):
        end = time.monotonic() + seconds
        while True:
            self.read(0.05)
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                while self.read(0):
                    pass
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < end, self.seen[-2000:]


# ---- chat ----

def answers_follow_from_what_was_said(server):
    r, talk = saved(server, ["sort: 3 1 2", "and now?"], *STEADY)
    assert [role for role, _ in talk] == ["user", "assistant", "user", "assistant"]
    assert talk[1][1] == asked(server, *talk[:1]) and talk[3][1] == asked(server, *talk[:3])
    assert r.stdout == talk[1][1] + "\n" + talk[3][1] + "\n"


def commands_change_the_conversation(server):
    _, talk = saved(server, ["/system one", "x", "/reset", "/system two words", "//slash", "a\\",
                             "b"], *STEADY)
    assert [m for m in talk if m[0] != "assistant"] == [
        ("system", "two words"), ("user", "/slash"), ("user", "a\nb")], talk
    _, talk = saved(server, ["x", "/system"], "--system", "gone", *STEADY)
    assert [role for role, _ in talk] == ["user", "assistant"]
    assert "/reset" in chat(server, ["/help", "/quit", "never said"]).stderr


def wrong_words_end_a_script(server):
    r = chat(server, ["/sorry"], code=1)
    assert "'/sorry' is no command" in r.stderr and "/reset" in r.stderr
    assert "No such file" in chat(server, ["x", "/save /nowhere/x"], *STEADY, code=1).stderr
    assert "min_p" in chat(server, ["x"], "--min-p", "2", code=1).stderr
    r = subprocess.run([CLIENT, "chat", "--json"], capture_output=True, text=True,
                       env=environment(), check=False)
    assert r.returncode == 2 and "chat takes no --json" in r.stderr


def what_was_not_answered_was_not_said(server):
    t = Terminal(CLIENT, "chat", "--connect", server.address, *STEADY)
    t.until("> ")
    t.type("x" * 3000 + "\\\n")
    t.until(". ")
    t.type("y" * 3000 + "\n")
    t.until("INVALID_ARGUMENT")
    t.until("> ")
    t.type("sort: 3 1 2\n")
    t.until("\r\n")
    t.until("> ")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "talk.json")
        t.type("/save %s\n" % path)
        t.until("2 messages are in")
        t.type("\x04")
        assert t.wait() == 0
        with open(path, encoding="utf-8") as f:
            assert json.load(f)["messages"][1]["content"] == asked(server, ("user", "sort: 3 1 2"))


def an_interrupt_ends_the_answer_not_the_program(server):
    t = Terminal(CLIENT, "chat", "--connect", server.address, "--temperature", "0", "-n", "900",
                 "--ignore-eos")
    t.until("> ")
    t.type("half a li\x03")
    t.until("> ")
    t.type("sort: 3 1 2\n")
    t.until("sort: 3 1 2\r\n")
    while len(t.seen) < 20:
        t.read(1)
    t.type("\x03")
    t.until("> ")
    server.wait_idle()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "talk.json")
        t.type("/save %s\n" % path)
        t.until("2 messages are in")
        with open(path, encoding="utf-8") as f:
            talk = json.load(f)["messages"]
    assert talk[0]["content"] == "sort: 3 1 2" and talk[1]["content"], talk
    t.type("/quit\n")
    assert t.wait() == 0


# ---- top ----

def one_frame_is_plain_text(server):
    asked(server, ("user", "x"))
    r = subprocess.run([CLIENT, "top", "--once", "--interval", "0.1", "--connect", server.address],
                       capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert r.returncode == 0 and not r.stderr, r.stderr
    assert "\033" not in r.stdout
    lines = r.stdout.splitlines()
    assert lines[0].startswith("tiny  cpu")
    finished = int(re.search(r"finished (\d+)", lines[1]).group(1))
    assert finished == server.stub.stats().requests_finished > 0
    assert re.search(r"^per s     prompt tokens 0\.0  output tokens 0\.0", lines[2])
    for word in ("experts ", "device ", "KV cache ", "prefetch "):
        assert any(line.startswith(word) for line in lines), word


def a_terminal_is_filled_and_given_back(server):
    t = Terminal(CLIENT, "top", "--interval", "0.1", "--connect", server.address, rows=6,
                 columns=60)
    t.until("\033[?1049h")
    t.until("running 0")
    t.until("\033[H")
    t.until("\033[J")
    frame = t.seen[t.seen.rindex("\033[H"):] if "\033[H" in t.seen else ""
    assert frame.count("\n") < 6
    t.resize(6, 40)
    os.kill(t.process, signal.SIGWINCH)
    time.sleep(0.3)
    t.read(0.5)
    t.seen = ""
    t.until("\033[H")
    t.until("\033[J")
    t.until("\033[H")
    before = t.seen
    t.until("\033[J")
    widths = [len(re.sub(r"\033\[[0-9;?]*[a-zA-Z]", "", line)) for line in before.split("\r\n")]
    assert max(widths) <= 60, widths
    t.type("q")
    assert t.wait() == 0
    assert "\033[?1049l" in t.seen and "\033[?25h" in t.seen


def a_suspended_view_gives_the_terminal_back(server):
    t = Terminal(CLIENT, "top", "--interval", "0.1", "--connect", server.address)
    t.until("running 0")
    os.kill(t.process, signal.SIGTSTP)
    t.until("\033[?1049l")
    _, status = os.waitpid(t.process, os.WUNTRACED)
    assert os.WIFSTOPPED(status), status
    os.kill(t.process, signal.SIGCONT)
    t.until("\033[?1049h")
    t.until("running 0")
    t.type("q")
    assert t.wait() == 0


def colors_are_as_the_environment_says(server):
    for variables, coloured in (({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        t = Terminal(CLIENT, "top", "--interval", "0.1", "--connect", server.address, **variables)
        t.until("\033[H")
        t.until("\033[J")
        t.seen = ""
        t.until("\033[H")
        while "\033[J" not in t.seen:
            t.read(1)
        assert ("\033[1m" in t.seen) == coloured, (variables, t.seen)
        t.type("q")
        assert t.wait() == 0
    t = Terminal(CLIENT, "top", "--connect", server.address, TERM="dumb")
    t.until("top needs a terminal")
    assert t.wait() == 2


def a_server_that_goes_is_told(_):
    own = Server(MOERING)
    t = Terminal(CLIENT, "top", "--interval", "0.1", "--connect", own.address)
    t.until("running 0")
    own.stop()
    t.until("UNAVAILABLE")
    t.type("\x03")
    assert t.wait() == 0


def top_needs_a_terminal_and_a_server(server):
    for args, code, why in ((("--connect", server.address), 2, "needs a terminal"),
                            (("--once", "--connect", "127.0.0.1:1"), 1, "UNAVAILABLE"),
                            (("--once", "--interval", "0"), 2, "no value for --interval")):
        r = subprocess.run([CLIENT, "top", *args], capture_output=True, text=True,
                           stdin=subprocess.DEVNULL, timeout=60, env=environment(), check=False)
        assert r.returncode == code and why in r.stderr, (r.returncode, r.stderr)


def the_wrong_port_is_told(server):
    r = subprocess.run([CLIENT, "model", "--connect", "127.0.0.1:%d" % server.http_port],
                       capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert r.returncode == 1 and "is it the gRPC port" in r.stderr, (r.returncode, r.stderr)


def main():
    return run_cases([
        answers_follow_from_what_was_said, commands_change_the_conversation,
        wrong_words_end_a_script,
        what_was_not_answered_was_not_said, an_interrupt_ends_the_answer_not_the_program,
        one_frame_is_plain_text, a_terminal_is_filled_and_given_back,
        a_suspended_view_gives_the_terminal_back, colors_are_as_the_environment_says,
        a_server_that_goes_is_told, top_needs_a_terminal_and_a_server, the_wrong_port_is_told],
        Server(MOERING, "--served-model-name", "tiny"))


if __name__ == "__main__":
    sys.exit(main())
