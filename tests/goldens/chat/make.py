"""Prompts of two and three turns, written by implementations that have no part in Galago: jinja2 on the templates in
templates/, which are those that models are published with, and the original conversation code of LLaVA, InternVL and
InternLM-XComposer where the format is defined there. Writes cases.json.

    python make.py --llava LLAVA_CHECKOUT --internvl INTERNVL_CHECKOUT --xcomposer XCOMPOSER_CHECKOUT --llama3 FOLDER

FOLDER has chat_template of Llama-3.3-70B-Instruct as llama-3.1.jinja and that of Llama-3.2-3B-Instruct as llama-3.2.jinja.
"""
import argparse
import ast
import importlib.util
import json
import pathlib
import textwrap

import jinja2
import jinja2.ext

HERE = pathlib.Path(__file__).parent
MARK = "<image>"

# format of models/chat_formats.json -> templates that stand for it; "parts": messages are lists of parts
TEMPLATES = {
    "llava-1.5": ["llava-1.5-hf"], "llava-1.5-roles": ["llava-1.5-roles"],
    "llava-1.6-mistral-hf": ["llava-1.6-mistral-hf"], "llava-1.6-mistral": ["llava-1.6-mistral"],
    "chatml": ["chatml-internvl", "chatml", "chatml-internlm2"],
    "qwen2": ["qwen2"], "qwen1.5": ["qwen1.5"], "smollm2": ["smollm2"], "llama-2": ["llama-2"],
    "llama-3": ["llama-3", "llama-3-generation"], "mistral-instruct": ["mistral-instruct"],
    "phi-3": ["phi-3-mini", "phi-3-medium", "phi-3-small", "phi-3", "phi-3.5"],
    "qwen2.5": ["qwen2.5"], "mistral-v3": ["mistral-v3"], "mistral-v3-tekken": ["mistral-nemo"],
    "mistral-v7-tekken": ["mistral-small-3.1"],
}
# Templates whose licence keeps them out of here.
ELSEWHERE = {"llama-3.1": ["llama-3.1", "llama-3.2"]}
PARTS = {"llava-1.5-hf", "llava-1.5-roles", "llava-1.6-mistral-hf", "llava-1.6-mistral", "chatml-internvl"}
WITHOUT_SYSTEM = {"llava-1.6-mistral", "mistral-instruct", "phi-3-mini", "phi-3-medium"}
# Without a system text it writes one of its own with the day's date.
WITH_SYSTEM = {"mistral-small-3.1"}
LLAVA = ["llava_v1", "vicuna_v1", "llava_v0", "llava_llama_2", "mistral_instruct", "chatml_direct", "mpt"]
INTERNVL = ["Hermes-2", "internlm2-chat", "phi3-chat", "internvl2_5", "internvl_zh"]


def conversations(pictures):
    """Two turns with a picture each, three turns with two pictures at once, and one with a system text."""
    def user(text, images=0):
        return {"role": "user", "text": text, "images": images if pictures else 0}

    def assistant(text):
        return {"role": "assistant", "text": text, "images": 0}
    yield [user("What is this?", 1), assistant("A bird."), user("And this?", 1)]
    yield [user("Compare them.", 2), assistant("Two birds."), user("Which is red?"), assistant("Neither."),
           user(" Are you sure?\n")]
    yield [{"role": "system", "text": "Be brief.", "images": 0}, user("What is this?", 1), assistant("A bird."),
           user("Which one?")]


def by_template(name, messages, folder=HERE / "templates"):
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation])
    def refuse(text):
        raise ValueError(text)
    environment.globals["raise_exception"] = refuse
    if name in WITH_SYSTEM:
        environment.globals["strftime_now"] = lambda form: ""
    chat = []
    for message in messages:
        content = message["text"]
        if name in PARTS:
            content = [{"type": "image"}] * message["images"] + [{"type": "text", "text": content}]
        chat.append({"role": message["role"], "content": content})
    source = (folder / (name + ".jinja")).read_text()
    prompt = environment.from_string(source).render(messages=chat, add_generation_prompt=True, bos_token="<s>",
                                                    eos_token="</s>")
    return prompt.removeprefix("<s>").replace("<IMG_CONTEXT>", MARK)


class Generation(jinja2.ext.Extension):
    """{% generation %}, which transformers adds to Jinja, marks text and changes none."""
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def load_module(path):
    spec = importlib.util.spec_from_file_location("original_" + path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_conversation(conversation, messages, set_system):
    """LLaVA's and InternVL's classes have the same methods. Pictures come as their code puts them: a mark and a line
    end before the text, once for each."""
    for message in messages:
        if message["role"] == "system":
            set_system(conversation, message["text"])
            continue
        role = conversation.roles[0 if message["role"] == "user" else 1]
        conversation.append_message(role, (MARK + "\n") * message["images"] + message["text"])
    conversation.append_message(conversation.roles[1], None)
    return conversation.get_prompt()


def set_llava_system(conversation, text):
    # MPT's begins with the marks of its role.
    conversation.system = "<|im_start|>system\n" + text if conversation.system.startswith("<|im_start|>") else text


def by_xcomposer(function, messages, old):
    """The prompt that the original interleav_wrap_chat cuts at its picture marks; of 2.0, which tokenizes every part
    with a <s> before it, so that the parts after the first begin with one."""
    system = "".join(m["text"] for m in messages if m["role"] == "system")
    chat = [m for m in messages if m["role"] != "system"]
    words = ["<ImageHere>" * m["images"] + m["text"] for m in chat]
    history = list(zip(words[:-1:2], words[1:-1:2]))
    n_images = sum(m["images"] for m in messages)
    prompt = function(words[-1], [None] * n_images, history, system)
    parts = prompt.split("<ImageHere>")
    return MARK.join([parts[0]] + ["<s>" + part if old and part else part for part in parts[1:]])


def xcomposer_prompt(path):
    """The statements of interleav_wrap_chat that make its prompt, as a function of their own."""
    tree = ast.parse(path.read_text())
    body = next(node for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef) and node.name == "interleav_wrap_chat").body
    first = next(i for i, node in enumerate(body) if isinstance(node, ast.Assign)
                 and getattr(node.targets[0], "id", "") == "prompt")
    last = next(i for i, node in enumerate(body) if isinstance(node, ast.Assign)
                and getattr(node.targets[0], "id", "") == "image_nums")
    source = "\n".join(ast.unparse(node) for node in body[first:last])
    scope = {}
    exec("def prompt_of(query, image, history, meta_instruction):\n" + textwrap.indent(source, "    ")
         + "\n    return prompt", scope)
    return scope["prompt_of"]


def xcomposer_system(path):
    """The default of chat()'s meta_instruction."""
    tree = ast.parse(path.read_text())
    chat = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "chat")
    names = [argument.arg for argument in chat.args.args][-len(chat.args.defaults):]
    return ast.literal_eval(dict(zip(names, chat.args.defaults))["meta_instruction"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llava", type=pathlib.Path, required=True)
    parser.add_argument("--internvl", type=pathlib.Path, required=True)
    parser.add_argument("--xcomposer", type=pathlib.Path, required=True)
    parser.add_argument("--llama3", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    cases = []

    def add(name, template, messages, prompt):
        cases.append({"format": name, "template": template, "messages": messages, "prompt": prompt})
    for name, templates in TEMPLATES.items():
        for template in templates:
            for messages in conversations(template in PARTS):
                if template in (WITHOUT_SYSTEM if messages[0]["role"] == "system" else WITH_SYSTEM):
                    continue
                add(name, template, messages, by_template(template, messages))
    for name, templates in ELSEWHERE.items():
        for template in templates:
            for messages in conversations(False):
                add(name, None, messages, by_template(template, messages, arguments.llama3))
    llava = load_module(arguments.llava / "llava" / "conversation.py")
    for name in LLAVA:
        for messages in conversations(True):
            add(name, None, messages, by_conversation(llava.conv_templates[name].copy(), messages, set_llava_system))
    internvl = load_module(arguments.internvl / "internvl_chat" / "internvl" / "conversation.py")
    for name in INTERNVL:
        for messages in conversations(True):
            if name == "internvl_zh" and messages[0]["role"] == "system":
                continue
            add(name, None, messages, by_conversation(internvl.get_conv_template(name), messages,
                                                      lambda c, text: c.set_system_message(text)))
    xcomposer = (arguments.xcomposer / "InternLM-XComposer-2.5-OmniLive" / "internlm-xcomposer2d5-ol-7b" / "merge_lora"
                 / "modeling_internlm_xcomposer2.py")
    for messages in conversations(True):
        prompt_of = xcomposer_prompt(xcomposer)
        add("xcomposer2.5", None, messages, by_xcomposer(prompt_of, messages, old=False))
        has_system = messages[0]["role"] == "system"
        usual = [] if has_system else [{"role": "system", "text": xcomposer_system(xcomposer), "images": 0}]
        add("xcomposer2", None, messages, by_xcomposer(prompt_of, usual + messages, old=True))
    lines = [json.dumps(case, ensure_ascii=False) for case in cases]
    (HERE / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


main()
