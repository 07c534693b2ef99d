#!/usr/bin/env python3
"""Makes the pieces_* files of this folder: vocabularies as GGUF files hold them, and vectors.

    python3 make_pieces.py    (needs the Python packages `tokenizers`, written with 0.23.3, and
                               `sentencepiece`, written with 0.2.3)

NAME.json holds the arrays of tokenizer.ggml.*; NAME.jsonl holds one object a line:

    pre           the pre-tokenizer's name (gpt2 vocabularies only)
    text          what was encoded
    parse_special control tokens written out in the text are recognised
    ids           what the reference makes of it, without bos and eos
    decoded       what the reference makes of the ids

The reference of byte-level vocabularies is the `tokenizers` library, put together as the models of
that name are; the merges were trained without any pre-tokenizer, so that they cross every border
that one can draw and a wrong border changes the ids. The reference of SentencePiece vocabularies is
`sentencepiece` itself: one model trained here on the story of make_goldens.py, and the same pieces
without bytes, without some characters that longer pieces need, with many equal scores, and
without the space in front.
Everything is seeded: two runs give the same bytes.
"""
import io
import json
import os
import random

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers

import make_goldens

HERE = make_goldens.HERE
LLAMA3, QWEN2 = make_goldens.LLAMA3, make_goldens.QWEN2
CLITICS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def cased(tail, digits):
    head = r"[^\r\n\p{L}\p{N}]?"
    return (head + "[" + UPPER + "]*[" + LOWER + "]+" + tail + "|" +
            head + "[" + UPPER + "]+[" + LOWER + "]*" + tail + "|" + digits +
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES)


def isolated(*patterns):
    return [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]


# As the model's own file lists them.
CASED_LETTERS = (
    r"A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}"
    r"\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}"
    r"\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}"
    r"\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}"
    r"\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}"
    r"\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}"
    r"\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}"
    r"\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}"
    r"\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}"
    r"\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}"
    r"\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}"
    r"\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}"
    r"\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}"
    r"\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}"
    r"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}"
    r"\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}"
    r"\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}"
    r"\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}")


# Each model's own stages in front of the byte level; True: the byte level cuts by GPT-2's expression.
FAMILIES = {
    "gpt-2": (None, [], True),
    "olmo": (normalizers.NFC(), [], True),
    "refact": (None, [pre_tokenizers.Digits(individual_digits=True)], True),
    "dbrx": (None, isolated(LLAMA3), False),
    "llama-bpe": (None, isolated(LLAMA3), False),
    "qwen2": (normalizers.NFC(), isolated(QWEN2), False),
    "deepseek-r1-qwen": (None, isolated(QWEN2), False),
    "tekken": (None, isolated(cased("", r"\p{N}")), False),
    "gpt-4o": (None, isolated(cased(CLITICS + "?", r"\p{N}{1,3}")), False),
    "deepseek-coder": (None, isolated(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+") +
                       [pre_tokenizers.Digits(individual_digits=True)], False),
    "deepseek-llm": (None, isolated(
        r"[\r\n]",
        r"\s?[" + CASED_LETTERS + "]+",
        r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+", r"\p{N}+"), False),
    "deepseek-v3": (None, isolated(
        r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|" + SPACES), False),
    "bailingmoe": (None, isolated(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
        r"|\s+(?!\S)|\s+"), False),
    "seed-coder": (None, isolated(
        CLITICS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + SPACES), False),
    "jais-2": (None, isolated(
        CLITICS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|" +
        "|".join(r"\s{%s}(?!\S)" % n for n in (512, 256, 128, 64, 32, 16, 8, 4, "1,2")) +
        r"|\s{1}"), False),
}

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER = ["<tool>", "  \u2581é"]


def byte_level_vocab():
    """Trained across all borders: every pair of the story may merge."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    make_goldens.train(t, 700, (), pre_tokenizers.ByteLevel.alphabet())
    model = json.loads(t.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    types = [1] * len(tokens) + [3] * len(CONTROL) + [4] * len(USER) + [5]
    tokens += CONTROL + USER + ["[PAD]"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    bos = tokens.index(CONTROL[0])
    return {"model": "gpt2", "tokens": tokens, "types": types, "merges": merges, "bos": bos,
            "eos": bos}, model


def reference(model, name):
    normalizer, steps, regex = FAMILIES[name]
    t = Tokenizer(models.BPE(vocab=model["vocab"],
                             merges=[tuple(m.split(" ")) if isinstance(m, str) else tuple(m)
                                     for m in model["merges"]],
                             ignore_merges=name in ("llama-bpe", "tekken")))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.Sequence(
        steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in CONTROL])
    t.add_tokens([AddedToken(s, normalized=False) for s in USER])
    return t


def fuzzed(rng, count):
    """Mixtures of scripts, digits, spaces, signs and marks, without characters newer than
    Unicode 14."""
    story = "".join(make_goldens.STORY)
    chars = sorted({c for text in make_goldens.TEXTS for c in text} | set(story))
    starts = range(len(story) - 20)
    for _ in range(count):
        text = ""
        for _ in range(rng.randrange(1, 9)):
            kind = rng.randrange(7)
            at = rng.choice(starts)
            text += (story[at:at + rng.randrange(1, 20)] if kind < 2 else
                     "".join(rng.choice(chars) for _ in range(rng.randrange(1, 6))) if kind < 4 else
                     rng.choice(" \n\t\r\u3000") * rng.randrange(1, 9) if kind == 4 else
                     "".join(rng.choice("0123456789\u0663\u00b2") for _ in range(rng.randrange(1, 8)))
                     if kind == 5 else
                     rng.choice(["'s", "'LL", "I'm", "don't", "A\u030a", "ABCdef", "...\n", "!=",
                                 "<tool>", "  \u2581é", "<|im_end|>", " def", "\r\n", "ǅa"]))
        yield text


def gpt2_files(count=40):
    pieces, model = byte_level_vocab()
    write("pieces_gpt2", pieces, gpt2_vectors(model, count))


def gpt2_vectors(model, count):
    for name in FAMILIES:
        rng = random.Random(name)
        t = reference(model, name)
        for text in make_goldens.TEXTS[::3] + list(fuzzed(rng, count)):
            for parse in (True, False) if "<|" in text else (False,):
                t.encode_special_tokens = not parse
                ids = t.encode(text, add_special_tokens=False).ids
                # The library spells added tokens in the byte alphabet where it can; a file of
                # pieces holds them as text.
                if any("é" in t.id_to_token(i) for i in ids if t.id_to_token(i) in USER):
                    yield {"pre": name, "text": text, "parse_special": parse, "ids": ids}
                else:
                    yield {"pre": name, "text": text, "parse_special": parse, "ids": ids,
                           "decoded": t.decode(ids, skip_special_tokens=False)}


def train_sentencepiece():
    model = io.BytesIO()
    lines = [line for text in make_goldens.STORY for line in text.split("\n") if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 3), model_writer=model, model_type="bpe", vocab_size=700,
        byte_fallback=True, character_coverage=0.995, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=True, num_threads=1,
        split_digits=False, allow_whitespace_only_pieces=True, minloglevel=2)
    return model.getvalue()


def variant(data, keep=lambda piece: True, score_step=1, **spec):
    """Another model of the same pieces; a larger step makes many scores equal."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(data)
    kept = [piece for piece in proto.pieces if keep(piece)]
    for piece in kept:
        piece.score = piece.score // score_step
    del proto.pieces[:]
    proto.pieces.extend(kept)
    for key, value in spec.items():
        setattr(proto.trainer_spec if key == "byte_fallback" else proto.normalizer_spec, key, value)
    return proto


def sentencepiece_pieces(proto):
    return {"model": "llama", "pre": "default", "tokens": [p.piece for p in proto.pieces],
            "scores": [p.score for p in proto.pieces], "types": [p.type for p in proto.pieces],
            "bos": 1, "eos": 2, "add_space_prefix": proto.normalizer_spec.add_dummy_prefix}


def sentencepiece_vectors(proto, name, count):
    sp = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    rng = random.Random(name)
    for text in make_goldens.TEXTS + list(fuzzed(rng, count)):
        if "\x00" in text:  # the Python binding cuts there
            continue
        ids = sp.encode(text)
        vector = {"text": text, "parse_special": False, "ids": ids}
        if sp.unk_id() not in ids:  # the library writes unknown pieces in a way of its own
            vector["decoded"] = sp.decode(ids)
        yield vector


def sentencepiece_files(count=60):
    data = train_sentencepiece()
    lacking = set("aeinost\u2581да")
    for name, proto in (
            ("pieces_llama", variant(data)),
            ("pieces_llama_ties", variant(data, score_step=40)),
            ("pieces_llama_no_prefix", variant(data, add_dummy_prefix=False)),
            ("pieces_llama_no_bytes", variant(data, lambda p: p.type != 6, byte_fallback=False)),
            ("pieces_llama_loose", variant(data, lambda p: p.piece not in lacking)),
            ("pieces_llama_loose_unknown", variant(
                data, lambda p: p.type != 6 and p.piece not in lacking, byte_fallback=False))):
        write(name, sentencepiece_pieces(proto), sentencepiece_vectors(proto, name, count))


def write(name, pieces, vectors):
    with open(os.path.join(HERE, name + ".json"), "w", encoding="utf-8") as out:
        json.dump(pieces, out, ensure_ascii=True)
        out.write("\n")
    with open(os.path.join(HERE, name + ".jsonl"), "w", encoding="utf-8") as out:
        for vector in vectors:
            out.write(json.dumps(vector, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    gpt2_files()
    sentencepiece_files()
