"""Several prompts at once; the server computes them together.

    python3 many.py 127.0.0.1:8001 "One, two," "Once upon a time"
"""
import asyncio
import sys

from moering import AsyncClient, MoeringError, Sampling


async def main() -> None:
    """Asks all, then prints all, in the order of the words."""
    async with AsyncClient(sys.argv[1]) as client:
        asked = [client.generate(prompt, Sampling(max_tokens=32)) for prompt in sys.argv[2:]]
        for prompt, answer in zip(sys.argv[2:], await asyncio.gather(*asked)):
            print(prompt + answer.text)


if len(sys.argv) < 3:
    sys.exit(__doc__)
try:
    asyncio.run(main())
except MoeringError as e:
    sys.exit(str(e))
