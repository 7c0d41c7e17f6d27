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
            "model_type": "qwen2",
            **{k: v for k, v in decoder.items() if k not in ("model_type", "architectures", "rope_theta", "rope_scaling")},
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
    missing, unexpected = model.load_state_dict(to_transformers(tensors), strict=False)
    tied = ["lm_head.weight"] if config["llm_config"]["tie_word_embeddings"] else []
    if list(missing) != tied or unexpected:
        raise ValueError(f"Cannot load: missing {missing}, unexpected {unexpected}, expected a full match")
    model.tie_weights()
    return model


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
