"""Owns the way from an original InternVL checkpoint to transformers' InternVLForConditionalGeneration, fp32, eager attention."""
import copy
import re

import torch
from transformers import InternVLConfig, InternVLForConditionalGeneration

PIXEL_MEAN = torch.tensor([0.485, 0.456, 0.406])
PIXEL_STD = torch.tensor([0.229, 0.224, 0.225])

NAMES = [
    (r"^vision_model\.embeddings\.class_embedding$", "model.vision_tower.embeddings.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "model.vision_tower.embeddings.position_embeddings"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "model.vision_tower.embeddings.patch_embeddings.projection."),
    (r"^vision_model\.encoder\.layers\.", "model.vision_tower.encoder.layer."),
    (r"\.attn\.(?=[qk]_norm)", ".attention."),
    (r"\.attn\.proj\.", ".attention.projection_layer."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.ls([12])$", r".lambda_\1"),
    (r"^mlp1\.0\.", "model.multi_modal_projector.layer_norm."),
    (r"^mlp1\.1\.", "model.multi_modal_projector.linear_1."),
    (r"^mlp1\.3\.", "model.multi_modal_projector.linear_2."),
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.model\.", "model.language_model."),
]


def to_transformers(tensors):
    """Renames, and splits attn.qkv into q, k and v."""
    out = {}
    for name, values in tensors.items():
        for pattern, to in NAMES:
            name = re.sub(pattern, to, name)
        values = torch.from_numpy(values.copy())
        if ".attn.qkv." in name:
            for part, rows in zip("qkv", values.chunk(3, 0)):
                out[name.replace(".attn.qkv.", f".attention.{part}_proj.")] = rows.contiguous()
        else:
            out[name] = values
    return out


def biases(decoder):
    """
    InternLM3's two flags. Transformers runs it as Llama and wants them equal; the published code has q, k and v by
    `qkv_bias`, all other projections by `bias`. Where they differ all are on, and those that should be off are zero.
    """
    if decoder["model_type"] != "internlm3":
        return {}
    some = decoder.get("qkv_bias", False) or decoder.get("bias", False)
    return {"qkv_bias": some, "bias": some}


def hf_config(config, image_token_id, tokens_per_tile):
    vision, decoder = config["vision_config"], config["llm_config"]
    scaling = decoder["rope_scaling"]
    rope = {"rope_type": scaling["rope_type"] if scaling else "default", "rope_theta": decoder["rope_theta"]}
    if scaling:
        rope["factor"] = scaling["factor"]
    return InternVLConfig(
        vision_config={
            "hidden_size": vision["hidden_size"],
            "num_hidden_layers": vision["num_hidden_layers"],
            "num_attention_heads": vision["num_attention_heads"],
            "intermediate_size": vision["intermediate_size"],
            "image_size": [vision["image_size"]] * 2,
            "patch_size": [vision["patch_size"]] * 2,
            "norm_type": vision["norm_type"],
            "layer_norm_eps": vision["layer_norm_eps"],
            "attention_bias": vision["qkv_bias"],
            "use_qk_norm": vision["qk_normalization"],
            "hidden_act": vision["hidden_act"],
            "use_mean_pooling": True,
        },
        text_config={
            **{k: v for k, v in decoder.items() if k not in ("architectures", "rope_theta", "rope_scaling", "bias")},
            **biases(decoder),
            "rope_parameters": rope,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
        },
        image_token_id=image_token_id,
        image_seq_length=tokens_per_tile,
        downsample_ratio=config["downsample_ratio"],
        tie_word_embeddings=decoder["tie_word_embeddings"],
        attn_implementation="eager",
    )


def load(config, tensors, image_token_id, tokens_per_tile):
    """The model in fp32; every tensor must find its place and every parameter a tensor."""
    model = InternVLForConditionalGeneration(hf_config(config, image_token_id, tokens_per_tile)).eval()
    decoder = config["llm_config"]
    missing, unexpected = model.load_state_dict(to_transformers(tensors), strict=False)
    tied = ["lm_head.weight"] if decoder["tie_word_embeddings"] else []
    zeroed = [name for name in missing if name.endswith("_proj.bias") and ".language_model.layers." in name]
    if decoder.get("qkv_bias", False) == decoder.get("bias", False) and zeroed or unexpected:
        raise ValueError(f"Cannot load: missing {missing}, unexpected {unexpected}, expected a full match")
    if [name for name in missing if name not in zeroed] != tied:
        raise ValueError(f"Cannot load: missing {missing}, expected a full match")
    for name in zeroed:
        torch.nn.init.zeros_(model.get_parameter(name))
    model.tie_weights()
    return model


def forget_lengths(model):
    """Transformers keeps the base of the longest sequence it ever saw; a model just loaded does not."""
    rope = model.model.language_model.rotary_emb
    rope.register_buffer("inv_freq", rope.original_inv_freq.clone(), persistent=False)
    rope.max_seq_len_cached = rope.original_max_seq_len


def image_features(model, config, pixels, select_layer=None):
    """[tiles, tokens, hidden] as `select_layer` and `ps_version` say."""
    layer = config["select_layer"] if select_layer is None else select_layer
    out = model.model.get_image_features(
        pixels, vision_feature_layer=layer, vision_feature_select_strategy="default", output_hidden_states=True
    ).pooler_output
    if config["ps_version"] == "v2":
        return out
    # v1 lacks the last turn of the pixel shuffle, and the projector works token by token.
    side = round(out.shape[1] ** 0.5)
    return out.reshape(out.shape[0], side, side, -1).transpose(1, 2).reshape(out.shape)


def normalise(tiles):
    """[N, T, T, 3] u8 -> [N, 3, T, T] fp32."""
    return ((torch.from_numpy(tiles).float() / 255 - PIXEL_MEAN) / PIXEL_STD).permute(0, 3, 1, 2).contiguous()


def round_activations(model):
    """Makes a copy of `model` multiply bf16 activations, sums and residuals staying fp32: what a bf16 engine must lose."""
    rounded = copy.deepcopy(model)

    def to_bf16(tensor):
        return tensor.bfloat16().float()

    for name, module in rounded.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            module.register_forward_pre_hook(lambda _, inputs: (to_bf16(inputs[0]),))
            if name.endswith(("q_proj", "k_proj", "v_proj")):
                module.register_forward_hook(lambda _, inputs, output: to_bf16(output))
    return rounded
