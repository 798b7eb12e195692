"""The window transformer, plain: NumPy float64, exact sizes, loops over tokens and heads, written from the equations.

Slow and without masks. `run` takes the library's weight arrays at exact sizes, and what was read before each step.
"""

import numpy as np


def softmax(x):
    exponentials = np.exp(x - x.max())
    return exponentials / exponentials.sum()


def norm(x, scale, offset):
    """Layer normalisation of one token."""
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * scale + offset


def attention(w, layer, tokens):
    """What every token gets from all tokens."""
    num_heads, width = w["query_bias"].shape[1:]
    mixed = []
    for token in tokens:
        total = w["out_bias"][layer]
        for head in range(num_heads):
            query, *keys = (
                x @ w[f"{kind}_kernel"][layer][:, head] + w[f"{kind}_bias"][layer, head]
                for kind, x in [("query", token), *[("key", other) for other in tokens]]
            )
            weighting = softmax(np.array([query @ key / np.sqrt(width) for key in keys]))
            for share, other in zip(weighting, tokens, strict=True):
                value = other @ w["value_kernel"][layer][:, head] + w["value_bias"][layer, head]
                total = total + share * value @ w["out_kernel"][layer, head]
        mixed.append(total)
    return mixed


def feed_forward(w, layer, token):
    """The hidden units come in groups as large as the token."""
    total = w["feed_out_bias"][layer]
    for group in range(w["feed_in_bias"].shape[1]):
        wide = np.maximum(token @ w["feed_in_kernel"][layer][:, group] + w["feed_in_bias"][layer, group], 0)
        total = total + wide @ w["feed_out_kernel"][layer, group]
    return total


def encoder(w, tokens):
    """Every token after all pre-LN layers and the last norm."""
    for layer in range(len(w["out_bias"])):
        normed = [norm(token, w["attention_scale"][layer], w["attention_offset"][layer]) for token in tokens]
        tokens = [token + more for token, more in zip(tokens, attention(w, layer, normed), strict=True)]
        normed = [norm(token, w["feed_scale"][layer], w["feed_offset"][layer]) for token in tokens]
        tokens = [token + feed_forward(w, layer, each) for token, each in zip(tokens, normed, strict=True)]
    return [norm(token, w["final_scale"], w["final_offset"]) for token in tokens]


def run(weights, inputs, reads):
    """The hidden units of every step [time unit]; reads [time read width] are those that the step is given."""
    w = weights["window"]
    hidden = np.zeros(len(w["state_bias"]))
    history = []
    for now in range(len(inputs)):
        tokens = []
        for age in range(min(len(w["position"]), now + 1)):
            tokens.append(inputs[now - age] @ w["embedding"] + w["embedding_bias"] + w["position"][age])
        for head, read in enumerate(reads[now]):
            tokens.append(read @ w["read_kernel"] + w["read_position"][head])
        newest = encoder(w, tokens)[0]
        hidden = np.tanh(newest @ w["state_kernel"] + hidden @ w["recurrent_kernel"] + w["state_bias"])
        history.append(hidden)
    return np.stack(history)
