"""Expected ids and texts of small tokenizers, from Hugging Face's tokenizers (and sentencepiece where there is no
tokenizer.json). Run in the folder whose subfolders hold the tokenizers' files; writes cases.json into each."""
import json
import os
import random

import sentencepiece
import tokenizers

PARTS = list("abc  \n\t.,'1234<>éS_▁ĠÀ") + ["的", "東京", "😀", "👨\u200d👩", "\u0301", "\xa0", "\u2028", "\x85", "ß", "İ",
         "ſ", "\u180e", "٣", "Ⅷ", "क", "\u3000", "'re", "'LL", "hello world", "The quick", "\r\n", "   "]
MARKS = ["</s>", "<image>", "<unk>", "<|im_end|>", "<|user|>", "<|end|>"]

for folder in sorted(os.listdir(".")):
    if not os.path.isdir(folder):
        continue
    random.seed(1)
    has_json = os.path.exists(f"{folder}/tokenizer.json")
    if has_json:
        reference = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
        encode, decode = lambda text: reference.encode(text).ids, reference.decode
        size, parts = reference.get_vocab_size(), PARTS + MARKS
    else:
        reference = sentencepiece.SentencePieceProcessor(f"{folder}/tokenizer.model")
        encode, decode = lambda text: [1] + reference.encode(text), None
        size, parts = len(reference), PARTS
    cases = {"encode": [], "decode": []}
    for _ in range(100):
        text = "".join(random.choice(parts) for _ in range(random.randint(0, 30)))
        cases["encode"].append({"text": text, "ids": encode(text)})
        ids = [random.randrange(size) for _ in range(random.randint(0, 20))]
        if decode:
            cases["decode"].append({"ids": ids, "text": decode(ids)})
    with open(f"{folder}/cases.json", "w", encoding="utf-8") as file:
        json.dump(cases, file, ensure_ascii=False)
        file.write("\n")
