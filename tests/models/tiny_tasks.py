"""Text that the built-in model learns from: small tasks with checkable answers, and stories.

One generator for training and for judging. A question is held out (never trained on, in any
form) when a hash of its *content* says so: the same numbers asked in other words are held out
too, so a right answer to a held-out question is not a memory.
"""

import random
import zlib

EOT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"

HELD_OUT_ONE_IN = 10

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen").split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()

FACTS = [
    ("What color is the sky?", "blue"), ("What color is grass?", "green"),
    ("What color is snow?", "white"), ("What color is coal?", "black"),
    ("What color is a lemon?", "yellow"), ("What color is blood?", "red"),
    ("How many legs does a spider have?", "8"), ("How many legs does a dog have?", "4"),
    ("How many legs does a bird have?", "2"), ("How many legs does an ant have?", "6"),
    ("How many days are in a week?", "7"), ("How many months are in a year?", "12"),
    ("How many hours are in a day?", "24"), ("How many minutes are in an hour?", "60"),
    ("What is the capital of France?", "Paris"), ("What is the capital of Italy?", "Rome"),
    ("What is the capital of Spain?", "Madrid"), ("What is the capital of Japan?", "Tokyo"),
    ("What is the capital of Egypt?", "Cairo"), ("What is the capital of Kenya?", "Nairobi"),
    ("What is the capital of Peru?", "Lima"), ("What is the capital of Norway?", "Oslo"),
    ("What day comes after Monday?", "Tuesday"), ("What day comes after Friday?", "Saturday"),
    ("What month comes after March?", "April"), ("What month comes after July?", "August"),
    ("What does a cow drink?", "water"), ("What does a cat say?", "meow"),
    ("What does a dog say?", "woof"), ("What does a cow say?", "moo"),
]

# unit, unit, factor, largest count asked
UNITS = [("m", "cm", 100, 99), ("km", "m", 1000, 99), ("cm", "mm", 10, 99), ("kg", "g", 1000, 99),
         ("h", "min", 60, 24), ("min", "s", 60, 24), ("weeks", "days", 7, 30), ("days", "h", 24, 14)]

NAMES = "Ada Ben Cleo Dan Eva Finn Gus Hana Ivo Jun Kai Lea Max Nia Otto Pia Ravi Sara Tom Uma".split()
ANIMALS = "cat dog fox hen owl bear duck frog goat crow".split()
PLACES = "river forest garden market harbor mountain village meadow bridge mill".split()
THINGS = "lamp map coin drum rope key bell book kite boat".split()
MOODS = "happy sad tired proud brave quiet hungry curious".split()
WEATHER = "sunny rainy windy snowy foggy warm".split()


def held_out(*content):
    """True when this question belongs to the judges."""
    return zlib.crc32(repr(content).encode()) % HELD_OUT_ONE_IN == 0


def number_words(n):
    """0..999 in English words."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("" if n % 10 == 0 else "-" + ONES[n % 10])
    rest = n % 100
    return ONES[n // 100] + " hundred" + ("" if rest == 0 else " and " + number_words(rest))


def _number(rng, digits):
    return rng.randrange(10 ** (digits - 1), 10 ** digits)


def task_add(rng, digits):
    a, b = _number(rng, digits), _number(rng, digits)
    form = rng.choice(["What is {} + {}?", "{} + {} = ?", "Add {} and {}."])
    return ("add", a, b), form.format(a, b), str(a + b)


def task_sub(rng, digits):
    a, b = sorted((_number(rng, digits), _number(rng, digits)), reverse=True)
    if rng.random() < 0.34:
        return ("sub", a, b), "Take {} from {}.".format(b, a), str(a - b)
    form = rng.choice(["What is {} - {}?", "{} - {} = ?"])
    return ("sub", a, b), form.format(a, b), str(a - b)


def task_sort(rng):
    xs = [rng.randrange(100) for _ in range(rng.randrange(3, 7))]
    down = rng.random() < 0.3
    form = "Sort down: {}" if down else rng.choice(["Sort: {}", "Sort the numbers {}"])
    answer = sorted(xs, reverse=down)
    return ("sort", down, *xs), form.format(" ".join(map(str, xs))), " ".join(map(str, answer))


def task_reverse(rng):
    n = rng.randrange(3, 8)
    letters = rng.random() < 0.5
    xs = [rng.choice("abcdefghijklmnopqrstuvwxyz") if letters else str(rng.randrange(10))
          for _ in range(n)]
    return ("reverse", *xs), "Reverse: " + " ".join(xs), " ".join(reversed(xs))


def task_words(rng):
    n = rng.randrange(100) if rng.random() < 0.5 else rng.randrange(1000)
    if rng.random() < 0.5:
        return ("words", n), "Write {} in words.".format(n), number_words(n)
    return ("words", n), "Write {} in digits.".format(number_words(n)), str(n)


def task_units(rng):
    big, small, factor, top = rng.choice(UNITS)
    n = rng.randrange(1, top + 1)
    form = rng.choice(["Convert {} {} to {}.", "How many {2} are {0} {1}?"])
    return ("units", big, small, n), form.format(n, big, small), "{} {}".format(n * factor, small)


def task_forms(rng):
    a, b = rng.sample(range(1, 1000 if rng.random() < 0.5 else 100), 2)
    kind = rng.randrange(4)
    if kind == 0:
        return ("larger", a, b), "Which is larger, {} or {}?".format(a, b), str(max(a, b))
    if kind == 1:
        return ("smaller", a, b), "Which is smaller, {} or {}?".format(a, b), str(min(a, b))
    if kind == 2:
        return ("parity", a), "Is {} even or odd?".format(a), "odd" if a % 2 else "even"
    return ("next", a), "What number comes after {}?".format(a), str(a + 1)


def task_fact(rng):
    question, answer = rng.choice(FACTS)
    return None, question, answer


# name, share of the questions, generator; facts are the only task without a held-out part
TASKS = [
    ("add2", 0.17, lambda r: task_add(r, 2)),
    ("sub2", 0.17, lambda r: task_sub(r, 2)),
    ("add3", 0.11, lambda r: task_add(r, 3)),
    ("sub3", 0.11, lambda r: task_sub(r, 3)),
    ("sort", 0.14, task_sort),
    ("reverse", 0.07, task_reverse),
    ("words", 0.07, task_words),
    ("units", 0.06, task_units),
    ("forms", 0.06, task_forms),
    ("facts", 0.04, task_fact),
]


def story(rng):
    """Four or five sentences that keep their name, animal, place and thing."""
    name, friend = rng.sample(NAMES, 2)
    animal, place = rng.choice(ANIMALS), rng.choice(PLACES)
    thing, mood, sky = rng.choice(THINGS), rng.choice(MOODS), rng.choice(WEATHER)
    n = rng.randrange(2, 10)
    first = rng.choice([
        "One {sky} day {name} went to the {place}.",
        "{name} lived near the {place} with a small {animal}.",
        "It was a {sky} morning and {name} was {mood}."])
    middle = rng.sample([
        "{name} found an old {thing} by the {place}.",
        "The {animal} followed {name} to the {place}.",
        "{friend} asked for the {thing}, and {name} gave it away.",
        "They walked for {n} hours and saw {n} birds.",
        "The {animal} was {mood}, so {name} sang to it."], rng.randrange(2, 4))
    last = rng.choice([
        "In the end {name} and {friend} were friends.",
        "At night {name} went home with the {animal}.",
        "{friend} said: \"Thank you, {name}.\""])
    text = " ".join([first, *middle, last])
    return text.format(name=name, friend=friend, animal=animal, place=place, thing=thing,
                       mood=mood, sky=sky, n=number_words(n))


def question(rng, task=None, judged=False):
    """(task name, question, answer); judged picks from the held-out part, else never from it."""
    names = [t[0] for t in TASKS]
    while True:
        name = task or rng.choices(names, [t[1] for t in TASKS])[0]
        content, asked, answer = TASKS[names.index(name)][2](rng)
        if content is None or held_out(*content) == judged:
            return name, asked, answer


def plain_prompt(asked):
    return "Q: {}\nA:".format(asked)


def chat_prompt(asked):
    return "{}user\n{}{}\n{}assistant\n".format(IM_START, asked, IM_END, IM_START)


def document(rng, focus=None):
    """(prompt, answer): the prompt part is given, the answer part is what must be learnt. A quarter
    of the documents are of the task `focus`, if one is named."""
    if focus and rng.random() < 0.25:
        _, asked, answer = question(rng, focus)
    elif rng.random() < 0.08:
        return "", story(rng) + EOT
    else:
        _, asked, answer = question(rng)
    if rng.random() < 0.5:
        return plain_prompt(asked), " " + answer + EOT
    return chat_prompt(asked), answer + IM_END + EOT


if __name__ == "__main__":
    rng = random.Random(0)
    for _ in range(20):
        print(repr("".join(document(rng))))
