#!/usr/bin/env python3
"""Makes the tokenizers and vectors of this folder with the reference library.

    python3 make_goldens.py        (needs the Python package `tokenizers`; written with 0.23.3)

Each NAME.json is a small tokenizer of one family, trained here on the text below; NAME.jsonl holds
what the reference makes of nasty texts: one object a line,

    text          what was encoded; absent: the ids are a random sequence, only decoded
    add_special   the post-processor's own tokens around
    parse_special special tokens written out in the text are recognised
    ids           the result
    decoded       the ids decoded, special tokens written out
    skipped       the same without special tokens

Everything is seeded: two runs give the same bytes. Letters and digits newer than Unicode 14 are left
out (symbols are not): the reference's tables know them, those of Debian 12's PCRE2 do not yet.
"""
import json
import os
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

STORY = [
    "The miller's cat sat on the wall and watched the river. It didn't move, and it wouldn't.",
    "In 1984 there were 1,234 boats; by 2021 only 37 remained. 3.14159 + 2.71828 = 5.85987",
    "Don't say \"never\" when you've only tried twice! We'll see, she'd said, they're coming.",
    "def add(a, b):\n    return a + b\n\nfor i in range(10):\n\tprint(i, add(i, 2 * i))\n",
    "Der Fluß fließt über die Brücke, où les élèves étudient; el niño pequeño comió piñas.",
    "Привет, мир! Сегодня хорошая погода. Γειά σου κόσμε, καλημέρα.",
    "今天天气很好，我们去公园散步吧。東京は日本の首都です。안녕하세요 세계",
    "שלום עולם، مرحبا بالعالم",
    "the the the and and and of of to to in in a a is is it it was was he he she she",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
]

TEXTS = [
    "", " ", "  ", "   ", "\t", "\n", "\r\n", "\r\n\r\n", " \n ", "a", " a", "a ", "  a  b  ",
    "Hello world", " Hello  world \t tab\ttab\n\nnew\r\nlines \r\n", "Hello, world! How are you?",
    "I'LL don't WE'VE they'd it's you're 'S 'T x'Re", "I\u017f it'\u017f",
    "0 12 123 1234 12345 1234567890 3.14 1,000,000 \u0663\u0664\u0665 \u00bd \u2167 \u4e09",
    "\U0001F468\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466 \U0001F44D\U0001F3FD \U0001F1E9\U0001F1EA",
    "\u00e9 e\u0301 \u1e9b\u0323 \u212b \ufb01 \u2460 \uff21 \u00c5 A\u030a q\u0307\u0323 q\u0323\u0307",
    "a\u0301\u0302\u0303\u0316\u0317b", "\u0301leading mark", "\uac00 \u1100\u1161 \u1100\u1161\u11a8",
    "中文字符，标点。日本語のテキスト 한국어 텍스트", "שלום עולם مرحبا \u202bRTL\u202c",
    "Привет мир ΑΒΓαβγς \u0130stanbul I\u0307 STRASSE Straße ǅ",
    "\u00a0nbsp\u2003em\u3000wide\u2028ls\u2029ps\u0085nel\u180emvs\u200bzw\ufeffbom",
    "\x00", "a\x00b\x00\x00c", "\x01\x02\x7f\x80\x9f", "\ufffd\uffff\U0010ffff \ue000",
    "\U0001FAE8\U0001FACE \U0001F6DC",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    " " * 100, "\n" * 40, "!" * 70, "7" * 50, "the" * 40, " the" * 30, "\u2581", "a\u2581b \u2581 c",
    "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start", "|>",
    "a<|endoftext|>b", "  <|endoftext|>  x", "<|endoftext|><|endoftext|>", "<s>", "</s> <unk>",
    "<s>Hello</s> there", "<0x41>", "<0xE2><0x82>", "<tool>", "x<tool>y", "a  <mask>  b",
    "mask [M] [M]s x[M] [M]", "WORD word Word wordy sword",
    "def f(x):\n        return x\n\n\n    # done   \n", "https://example.org/a?b=c&d=e#f",
    "{\"k\": [1, 2, {\"x\": null}]}", "C:\\path\\to\\file.txt", "under_score CamelCase kebab-case",
    "!!! ??? ... --- +++ === ((()))", "a.b,c;d:e", "\u2014\u2013\u2026\u201cq\u201d", "...\n...\r\n.",
    "x \t\n y", "tail   ", "tail\n   ", " \u00a0 \u00a0", "ƒƒƒ ßßß", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "नमस्ते दुनिया", "𝕳𝖊𝖑𝖑𝖔 ＨＥＬＬＯ ﷺ", "𠜎𠜱𠝹𠱓", "\u24b6 \u24d0 \U0001f130", "a\u200db a\u200cb",
]

SPECIAL = dict(special=True, normalized=False)


def train(tokenizer, size, special=(), alphabet=None):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), show_progress=False,
                                  initial_alphabet=alphabet or [], limit_alphabet=300)
    tokenizer.train_from_iterator(STORY * 3, trainer)
    return tokenizer


def byte_level(split, size=640, normalizer=None, prefix=False, special=("<|endoftext|>",)):
    t = Tokenizer(models.BPE())
    t.normalizer = normalizer
    if split:
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)])
    else:
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    t.decoder = decoders.ByteLevel()
    return train(t, size, special, pre_tokenizers.ByteLevel.alphabet())


def qwen2():
    t = byte_level(QWEN2, normalizer=normalizers.NFC())
    t.add_special_tokens([AddedToken(s, **SPECIAL) for s in ("<|im_start|>", "<|im_end|>")])
    t.add_tokens([AddedToken("<tool>", normalized=False)])
    return t


def gpt2():
    t = byte_level(None)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def neox():
    t = byte_level(None, normalizer=normalizers.NFC(), prefix=False)
    t.add_tokens([AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, **SPECIAL)])
    t.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)])
    return t


def llama3():
    t = byte_level(LLAMA3)
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|endoftext|> $A",
                                      special_tokens=[("<|endoftext|>", 0)])])
    data = json.loads(t.to_str())
    data["model"]["ignore_merges"] = True
    data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]][:250]
    return Tokenizer.from_str(json.dumps(data))


def cased():
    return byte_level(CASED, prefix=True)


def sentencepiece(pre_tokenizer=None):
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if pre_tokenizer:
        t.pre_tokenizer = pre_tokenizer
        t.decoder = decoders.Sequence([decoders.ByteFallback(),
                                       decoders.Metaspace(prepend_scheme="always")])
    else:
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                       decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    scratch = Tokenizer(models.BPE(unk_token="<unk>"))
    scratch.normalizer = t.normalizer
    scratch.pre_tokenizer = pre_tokenizer or pre_tokenizers.Split("▁", "merged_with_next")
    train(scratch, 900, special)
    model = json.loads(scratch.to_str())["model"]
    vocab = model["vocab"]
    for piece in ("안", "天", "\u4e09", "🇩"):  # so that some characters have no piece of their own
        vocab.pop(piece, None)
    merges = [tuple(m) for m in model["merges"]]
    merges = [(a, b) for a, b in merges if a in vocab and b in vocab]
    t.model = models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True,
                         fuse_unk=True)
    t.add_special_tokens([AddedToken(s, **SPECIAL) for s in ("<unk>", "<s>", "</s>")])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t


def mixtral():
    return sentencepiece()


def metaspace_first():
    return sentencepiece(pre_tokenizers.Metaspace(prepend_scheme="first", split=True))


def metaspace_plain(scheme, split, fuse):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    t.decoder = decoders.Metaspace(prepend_scheme=scheme)
    train(t, 420, ["<unk>", "<s>", "</s>"])
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return t


def splits(behavior, invert):
    """Every behaviour of Split, with character classes in front of and behind it."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(),
                                         normalizers.Strip(), normalizers.Replace(Regex("[.]{2,}"), "…")])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=invert),
        pre_tokenizers.Split(Regex(r"\s+|[aeiou]+|(?=k)"), behavior, invert),
        pre_tokenizers.Split("th", behavior, invert),
        pre_tokenizers.Punctuation(behavior),
        pre_tokenizers.ByteLevel(add_prefix_space=invert, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    train(t, 400, ["<|endoftext|>"], pre_tokenizers.ByteLevel.alphabet())
    t.add_tokens([AddedToken("WORD", normalized=True, single_word=True),
                  AddedToken("[M]", normalized=False, rstrip=True, single_word=invert),
                  AddedToken("<mask>", normalized=True, lstrip=True, rstrip=True)])
    return t


def words(kind, form):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    t.normalizer = form
    t.pre_tokenizer = kind
    t.decoder = decoders.Fuse()
    train(t, 420, ["<unk>"])
    return t


def families():
    yield "qwen2", qwen2()
    yield "gpt2", gpt2()
    yield "neox", neox()
    yield "llama3", llama3()
    yield "cased", cased()
    yield "mixtral", mixtral()
    yield "metaspace_first", metaspace_first()
    yield "metaspace_always", metaspace_plain("always", False, True)
    yield "metaspace_never", metaspace_plain("never", True, False)
    for behavior in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"):
        yield "split_" + behavior, splits(behavior, False)
        yield "split_%s_inverted" % behavior, splits(behavior, True)
    yield "whitespace_nfd", words(pre_tokenizers.Whitespace(), normalizers.NFD())
    yield "whitespace_split_nfkd", words(pre_tokenizers.WhitespaceSplit(), normalizers.NFKD())


def byte_runs_are_text(t, ids):
    """A stream cannot do what the reference does with runs of byte tokens that are not UTF-8."""
    run = b""
    pieces = [t.id_to_token(i) for i in ids]
    for piece in [p for p in pieces if p is not None] + ["end"]:
        if len(piece) == 6 and piece.startswith("<0x"):
            run += bytes([int(piece[3:5], 16)])
            continue
        try:
            run.decode()
        except UnicodeDecodeError:
            return False
        run = b""
    return True


def texts(rng):
    yield from TEXTS
    chars = sorted({c for text in TEXTS + STORY for c in text})
    for _ in range(60):
        yield "".join(rng.choice(chars) for _ in range(rng.randrange(1, 40)))
    for _ in range(40):
        yield "".join(rng.choice(TEXTS) for _ in range(rng.randrange(2, 5)))[:400]


def vectors(t, rng):
    for number, text in enumerate(texts(rng)):
        for add_special, parse_special in ((False, True), (True, True), (False, False)):
            t.encode_special_tokens = not parse_special
            ids = t.encode(text, add_special_tokens=add_special).ids
            t.encode_special_tokens = False
            if not parse_special and ids == t.encode(text, add_special_tokens=False).ids:
                continue
            if add_special and (number > 20 or t.num_special_tokens_to_add(False) == 0):
                continue
            yield {"text": text, "add_special": add_special, "parse_special": parse_special,
                   "ids": ids}
    fallback = "ByteFallback" in t.to_str()
    for _ in range(60):
        ids = [rng.randrange(t.get_vocab_size()) for _ in range(rng.randrange(1, 20))]
        if not fallback or byte_runs_are_text(t, ids):
            yield {"ids": ids}


def main():
    for name, t in families():
        rng = random.Random(name)
        t.save(os.path.join(HERE, name + ".json"), pretty=False)
        with open(os.path.join(HERE, name + ".jsonl"), "w", encoding="utf-8") as out:
            for vector in vectors(t, rng):
                vector["decoded"] = t.decode(vector["ids"], skip_special_tokens=False)
                vector["skipped"] = t.decode(vector["ids"], skip_special_tokens=True)
                out.write(json.dumps(vector, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
