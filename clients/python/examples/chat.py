"""A question to a server, the answer as it comes.

    python3 chat.py 127.0.0.1:8001 "Why is the sky blue?"
"""
import os
import sys

from moering import Client, Message, MoeringError, Sampling

if len(sys.argv) != 3:
    sys.exit(__doc__)
try:
    with Client(sys.argv[1], api_key=os.environ.get("MOERING_API_KEY")) as client:
        with client.stream_chat([Message("user", sys.argv[2])], Sampling(max_tokens=200)) as answer:
            for chunk in answer:
                print(chunk.text, end="", flush=True)
                if chunk.usage:
                    print("\n(%d tokens)" % chunk.usage.completion_tokens)
except MoeringError as e:
    sys.exit(str(e))
