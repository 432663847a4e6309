"""A small model, a loss on it and a few steps of training, for every test of this family."""

import torch

from reference_impls.adaptation import methods, trainable
from reference_impls.models.perplexity import token_losses
from tests.quantization.cases import seeded, small_decoder, tokens_of

SMALL = {"lora": {"rank": 4}, "dora": {"rank": 4}, "pissa": {"rank": 4}, "lora_plus": {"rank": 4, "ratio": 4.0}}


def model_of(dtype=torch.float64):
    return small_decoder(dtype=dtype)


def adapted(name, model=None, **options):
    module = methods()[name]
    return module.adapt(model or model_of(), module.Config(**{**SMALL.get(name, {}), **options}), seeded())


def loss_of(model, tokens=None):
    tokens = tokens_of(8, 16) if tokens is None else tokens
    return token_losses(model(tokens[:, :-1]), tokens[:, 1:]).mean()


def train(model, steps=20, rate=1e-2):
    optimizer = torch.optim.AdamW(trainable(model), lr=rate)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}
