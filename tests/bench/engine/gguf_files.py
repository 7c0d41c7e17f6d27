# Owns the same weights for llama.cpp: reads the bench's checkpoint, writes text-bf16.gguf and mmproj-bf16.gguf.
# Arguments: llama.cpp's gguf-py, checkpoint folder, output folder.
import json
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
import gguf  # noqa: E402

source, target = sys.argv[2], sys.argv[3]
BF16, F32 = gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.F32
# One that llama.cpp knows; it refuses others.
CHAT_TEMPLATE = (
    "{% for m in messages %}{{'<|im_start|>'+m['role']+'\n'+m['content']+'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
config = json.load(open(f"{source}/config.json"))

with open(f"{source}/model.safetensors", "rb") as file:
    header_bytes = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(header_bytes))
data = np.memmap(f"{source}/model.safetensors", mode="r", offset=8 + header_bytes)


def add(writer, name, tensor, keep=True):
    """Matrices as they are, everything else as fp32, which llama.cpp wants of norms and biases."""
    entry = header[tensor]
    begin, end = entry["data_offsets"]
    shape = entry["shape"]
    bits = data[begin:end].view(np.uint16)
    if keep and len(shape) == 2:
        writer.add_tensor(name, bits.view(np.uint8).reshape(shape[0], -1), raw_dtype=BF16)
    else:
        values = (bits.astype(np.uint32) << 16).view(np.float32)
        writer.add_tensor(name, values.reshape([n for n in shape if n != 1] or [1]), raw_dtype=F32)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_characters():
    """GPT-2's printable stand-ins for bytes, without which llama.cpp refuses a vocabulary."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    return [chr(byte) for byte in own] + [chr(256 + i) for i in range(len(others))]


def text():
    shape = config["text_config"]
    writer = gguf.GGUFWriter(f"{target}/text-bf16.gguf", "qwen2")
    writer.add_context_length(shape["max_position_embeddings"])
    writer.add_embedding_length(shape["hidden_size"])
    writer.add_block_count(shape["num_hidden_layers"])
    writer.add_feed_forward_length(shape["intermediate_size"])
    writer.add_head_count(shape["num_attention_heads"])
    writer.add_head_count_kv(shape["num_key_value_heads"])
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(shape["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    # A vocabulary of the right size; two merged characters, as there must be a merge.
    size = shape["vocab_size"]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
    tokens = byte_characters() + ["\u0120a"]
    tokens += [f"token{i}" for i in range(len(tokens), size - len(special))] + special
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (size - len(special)) + [3] * len(special))
    writer.add_token_merges(["\u0120 a"])
    writer.add_bos_token_id(size - len(special))
    writer.add_eos_token_id(size - len(special) + 2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    names = {
        "input_layernorm.weight": "attn_norm.weight",
        "post_attention_layernorm.weight": "ffn_norm.weight",
        "self_attn.q_proj.weight": "attn_q.weight",
        "self_attn.q_proj.bias": "attn_q.bias",
        "self_attn.k_proj.weight": "attn_k.weight",
        "self_attn.k_proj.bias": "attn_k.bias",
        "self_attn.v_proj.weight": "attn_v.weight",
        "self_attn.v_proj.bias": "attn_v.bias",
        "self_attn.o_proj.weight": "attn_output.weight",
        "mlp.gate_proj.weight": "ffn_gate.weight",
        "mlp.up_proj.weight": "ffn_up.weight",
        "mlp.down_proj.weight": "ffn_down.weight",
    }
    prefix = "language_model.model." if "language_model.model.norm.weight" in header else "model.language_model."
    head = "language_model.lm_head.weight" if "language_model.lm_head.weight" in header else "lm_head.weight"
    add(writer, "token_embd.weight", f"{prefix}embed_tokens.weight")
    add(writer, "output.weight", head)
    add(writer, "output_norm.weight", f"{prefix}norm.weight")
    for layer in range(shape["num_hidden_layers"]):
        for theirs, ours in names.items():
            add(writer, f"blk.{layer}.{ours}", f"{prefix}layers.{layer}.{theirs}")
    finish(writer)


def vision():
    shape = config["vision_config"]
    writer = gguf.GGUFWriter(f"{target}/mmproj-bf16.gguf", "clip")
    writer.add_type("mmproj")
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(gguf.VisionProjectorType.INTERNVL)
    writer.add_vision_projection_dim(config["text_config"]["hidden_size"])
    writer.add_vision_image_size(shape["image_size"][0])
    writer.add_vision_patch_size(shape["patch_size"][0])
    writer.add_vision_embedding_length(shape["hidden_size"])
    writer.add_vision_feed_forward_length(shape["intermediate_size"])
    writer.add_vision_block_count(shape["num_hidden_layers"])
    writer.add_vision_head_count(shape["num_attention_heads"])
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_use_gelu(True)
    writer.add_vision_image_mean([0.485, 0.456, 0.406])
    writer.add_vision_image_std([0.229, 0.224, 0.225])
    writer.add_vision_projector_scale_factor(2)
    writer.add_vision_preproc_min_tiles(1)
    writer.add_vision_preproc_max_tiles(12)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    names = {
        "attention.q_proj.weight": "attn_q.weight",
        "attention.q_proj.bias": "attn_q.bias",
        "attention.k_proj.weight": "attn_k.weight",
        "attention.k_proj.bias": "attn_k.bias",
        "attention.v_proj.weight": "attn_v.weight",
        "attention.v_proj.bias": "attn_v.bias",
        "attention.projection_layer.weight": "attn_out.weight",
        "attention.projection_layer.bias": "attn_out.bias",
        "layernorm_before.weight": "ln1.weight",
        "layernorm_before.bias": "ln1.bias",
        "layernorm_after.weight": "ln2.weight",
        "layernorm_after.bias": "ln2.bias",
        "lambda_1": "ls1.weight",
        "lambda_2": "ls2.weight",
        "mlp.fc1.weight": "ffn_up.weight",
        "mlp.fc1.bias": "ffn_up.bias",
        "mlp.fc2.weight": "ffn_down.weight",
        "mlp.fc2.bias": "ffn_down.bias",
    }
    tower = "vision_tower." if "vision_tower.embeddings.cls_token" in header else "model.vision_tower."
    projector = tower.replace("vision_tower", "multi_modal_projector")
    add(writer, "v.class_embd", f"{tower}embeddings.cls_token")
    add(writer, "v.patch_embd.weight", f"{tower}embeddings.patch_embeddings.projection.weight")
    add(writer, "v.patch_embd.bias", f"{tower}embeddings.patch_embeddings.projection.bias")
    add(writer, "v.position_embd.weight", f"{tower}embeddings.position_embeddings", keep=False)
    for layer in range(shape["num_hidden_layers"]):
        for theirs, ours in names.items():
            add(writer, f"v.blk.{layer}.{ours}", f"{tower}encoder.layer.{layer}.{theirs}")
    for theirs, ours in {"layer_norm": 0, "linear_1": 1, "linear_2": 3}.items():
        for part in ("weight", "bias"):
            add(writer, f"mm.model.mlp.{ours}.{part}", f"{projector}{theirs}.{part}")
    finish(writer)


text()
vision()
