"""Several prompts at once; the server computes them together.

    python3 many.py 127.0.0.1:8001 "One, two," "Once upon a time"
"""
import asyncio
import sys

from moering import AsyncClient, Sampling


async def main() -> None:
    async with AsyncClient(sys.argv[1]) as client:
        asked = [client.generate(prompt, Sampling(max_tokens=32)) for prompt in sys.argv[2:]]
        for prompt, answer in zip(sys.argv[2:], await asyncio.gather(*asked)):
            print(prompt + answer.text)


asyncio.run(main())
