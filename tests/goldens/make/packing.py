"""Four-bit packings: AWQ, GPTQ and bitsandbytes NF4, written and read by their published definitions."""
import json

import torch

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
# The NF4 levels (Dettmers et al., QLoRA, appendix E).
NF4 = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])
NF4_BLOCK, NESTED_BLOCK = 64, 256


def pack_columns(codes, order):
    """[rows, columns] of 0..15 to [rows, columns / 8] words; nibble i holds column order[i] of its eight."""
    words = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int64)
    for nibble, column in enumerate(order):
        words |= codes[:, column::8].long() << (4 * nibble)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def unpack_columns(words, order):
    codes = torch.zeros(words.shape[0], words.shape[1] * 8, dtype=torch.int64)
    for nibble, column in enumerate(order):
        codes[:, column::8] = (words.long() >> (4 * nibble)) & 15
    return codes


def quantise_groups(weight, group_of, groups, symmetric):
    """weight [in, out] to (codes [in, out], scales, zeros [groups, out]) of 4 bits."""
    codes = torch.zeros_like(weight, dtype=torch.int64)
    scales = torch.zeros(groups, weight.shape[1], dtype=torch.float16)
    zeros = torch.full((groups, weight.shape[1]), 8, dtype=torch.int64)
    for g in range(groups):
        rows = group_of == g
        low, high = weight[rows].amin(0).clamp(max=0), weight[rows].amax(0).clamp(min=0)
        scales[g] = (2 * torch.maximum(-low, high) / 15 if symmetric else (high - low) / 15).half()
        if not symmetric:
            # GPTQ stores zero - 1 in four bits, so zero starts at one.
            zeros[g] = torch.round(-low / scales[g].float()).clamp(1, 15).long()
        codes[rows] = torch.round(weight[rows] / scales[g].float() + zeros[g]).clamp(0, 15).long()
    return codes, scales, zeros


def dequantise_groups(codes, scales, zeros, group_of):
    return (codes - zeros[group_of]).float() * scales.float()[group_of]


def pack_awq(name, weight, group):
    inputs = weight.shape[1]
    group_of = torch.arange(inputs) // group
    codes, scales, zeros = quantise_groups(weight.T, group_of, inputs // group, symmetric=False)
    return {f"{name}.qweight": pack_columns(codes, AWQ_ORDER), f"{name}.qzeros": pack_columns(zeros, AWQ_ORDER),
            f"{name}.scales": scales}


def unpack_awq(tensors, name, group):
    codes = unpack_columns(tensors[f"{name}.qweight"], AWQ_ORDER)
    zeros = unpack_columns(tensors[f"{name}.qzeros"], AWQ_ORDER)
    return dequantise_groups(codes, tensors[f"{name}.scales"], zeros, torch.arange(len(codes)) // group).T.contiguous()


def pack_gptq(name, weight, group, act_order, generator):
    inputs = weight.shape[1]
    group_of = torch.arange(inputs) // group
    if act_order:
        group_of = group_of[torch.randperm(inputs, generator=generator)]
    codes, scales, zeros = quantise_groups(weight.T, group_of, inputs // group, symmetric=not act_order)
    in_order = list(range(8))
    return {f"{name}.qweight": pack_columns(codes.T.contiguous(), in_order).T.contiguous(),
            f"{name}.qzeros": pack_columns(zeros - 1, in_order), f"{name}.scales": scales,
            f"{name}.g_idx": group_of.to(torch.int32)}


def unpack_gptq(tensors, name):
    in_order = list(range(8))
    codes = unpack_columns(tensors[f"{name}.qweight"].T.contiguous(), in_order).T
    zeros = unpack_columns(tensors[f"{name}.qzeros"], in_order) + 1
    return dequantise_groups(codes, tensors[f"{name}.scales"], zeros, tensors[f"{name}.g_idx"].long()).T.contiguous()


def dynamic_map():
    """bitsandbytes' signed dynamic 8-bit map: seven decades, ever finer fractions, zero and one."""
    values = []
    for decade in range(7):
        bounds = torch.linspace(0.1, 1, 2**decade + 1)
        means = (bounds[:-1] + bounds[1:]) / 2 * 10.0 ** (decade - 6)
        values += (means.tolist() + (-means).tolist())
    return torch.tensor(sorted(values + [0.0, 1.0]))


def nearest(values, levels):
    return (values.unsqueeze(-1) - levels).abs().argmin(-1)


def state_bytes(state):
    return torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)


def pack_nf4(name, weight, double):
    blocks = weight.reshape(-1, NF4_BLOCK)
    absmax = blocks.abs().amax(1)
    state = {"quant_type": "nf4", "blocksize": NF4_BLOCK, "dtype": "float16", "shape": list(weight.shape)}
    tensors = {f"{name}.quant_map": NF4.clone()}
    if double:
        offset = absmax.mean()
        padded = torch.nn.functional.pad(absmax - offset, (0, -len(absmax) % NESTED_BLOCK)).reshape(-1, NESTED_BLOCK)
        nested = padded.abs().amax(1)
        levels = dynamic_map()
        codes = nearest(padded / nested[:, None], levels).flatten()[: len(absmax)]
        tensors |= {f"{name}.absmax": codes.to(torch.uint8), f"{name}.nested_absmax": nested,
                    f"{name}.nested_quant_map": levels}
        state |= {"nested_blocksize": NESTED_BLOCK, "nested_dtype": "float32", "nested_offset": offset.item()}
        absmax = levels[codes] * nested[torch.arange(len(codes)) // NESTED_BLOCK] + offset
    else:
        tensors[f"{name}.absmax"] = absmax
    codes = nearest(blocks / absmax[:, None], NF4).flatten()
    # The first of a pair of values is in the high nibble.
    tensors[name] = (codes[0::2] << 4 | codes[1::2]).to(torch.uint8).unsqueeze(1)
    tensors[f"{name}.quant_state.bitsandbytes__nf4"] = state_bytes(state)
    return tensors


def unpack_nf4(tensors, name):
    state = json.loads(bytes(tensors[f"{name}.quant_state.bitsandbytes__nf4"].tolist()))
    absmax = tensors[f"{name}.absmax"]
    if "nested_blocksize" in state:
        codes = absmax.long()
        nested = tensors[f"{name}.nested_absmax"][torch.arange(len(codes)) // state["nested_blocksize"]]
        absmax = tensors[f"{name}.nested_quant_map"][codes] * nested + state["nested_offset"]
    words = tensors[name].flatten().long()
    codes = torch.stack([words >> 4, words & 15], 1).reshape(-1, state["blocksize"])
    # bitsandbytes gives the weights in the type they had.
    return (tensors[f"{name}.quant_map"][codes] * absmax[:, None]).reshape(state["shape"]).to(DTYPES[state["dtype"]])
