"""What other trainers call our settings: each of their flags, and our key for it, or why there is none.

From this table come the hints for unknown keys and docs/flags.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Foreign:
    """One setting of another trainer: whether we have, need or refuse it, our keys for it, and a note."""

    status: Literal["mapped", "needless", "refused", "not yet"]
    keys: tuple[str, ...] = ()
    note: str = ""


def _to(*keys: str, note: str = "") -> Foreign:
    return Foreign("mapped", keys, note)


def _needless(note: str, *keys: str) -> Foreign:
    return Foreign("needless", keys, note)


def _refused(note: str, *keys: str) -> Foreign:
    return Foreign("refused", keys, note)


def _not_yet(note: str) -> Foreign:
    return Foreign("not yet", (), note)


# The flags of the reference trainers (diffusers' scripts and their ports), by the groups of their documentation.
REFERENCE: Mapping[str, Mapping[str, Foreign]] = {
    "Model": {
        "pretrained_model_name_or_path": _to("model.base", note="`--base`"),
        "pretrained_vae_model_name_or_path": _to("model.vae"),
        "pretrained_decoder_model_name_or_path": _not_yet("Kandinsky 2.2"),
        "pretrained_prior_model_name_or_path": _not_yet("Kandinsky 2.2"),
        "revision": _to("model.revision"),
        "variant": _to("model.variant"),
        "tokenizer_name": _to("model.tokenizer"),
    },
    "Data": {
        "dataset_name": _to("data.dataset"),
        "dataset_config_name": _to("data.dataset_config"),
        "instance_data_dir": _to("data.folder", note="the positional argument of `maquette train`"),
        "train_data_dir": _to("data.folder", note="the positional argument of `maquette train`"),
        "cache_dir": _needless("the hub's own setting decides where downloads lie (HF_HOME)"),
        "image_column": _to("data.image_column"),
        "caption_column": _to("data.caption_column"),
        "instance_prompt": _to("data.prompt", note="`--prompt`"),
        "repeats": _to("data.repeats"),
        "height": _to("data.size", note="[height, width]; crops, and never squashes"),
        "width": _to("data.size", note="[height, width]; crops, and never squashes"),
        "resolution": _to("data.resolution"),
        "center_crop": _to("data.crop", note='crop = "center"'),
        "random_flip": _to("data.flip"),
        "image_interpolation_mode": _needless("pictures are scaled by one good filter, Lanczos"),
        "max_train_samples": _to("data.split", note='split = "train[:100]"; or give a smaller folder'),
        "dataloader_num_workers": _needless("encoded pictures are cached, so that nothing is decoded in a step"),
    },
    "Prior preservation": {
        "with_prior_preservation": _to("class_images", note="the section's presence turns it on"),
        "class_data_dir": _to("class_images.folder"),
        "class_prompt": _to("class_images.prompt"),
        "num_class_images": _to("class_images.count"),
        "prior_loss_weight": _to("class_images.weight"),
        "sample_batch_size": _needless("class pictures are made one by one, so that they do not depend on the batch"),
        "prior_generation_precision": _needless("class pictures are made as `maquette generate` makes them"),
    },
    "New tokens": {
        "train_text_encoder_ti": _to("tokens", note="the section's presence turns it on"),
        "train_text_encoder_ti_frac": _to("tokens.stop", note="by steps, not by whole epochs"),
        "token_abstraction": _to("tokens.placeholders"),
        "num_new_tokens_per_abstraction": _to("tokens.placeholders", note="{ TOK = 2 }"),
        "adam_weight_decay_text_encoder": _to("tokens.weight_decay", note="0 is none"),
    },
    "Text encoder": {
        "train_text_encoder": _to("text_encoder.train"),
        "train_text_encoder_frac": _to("text_encoder.stop"),
        "text_encoder_lr": _to("text_encoder.lr", "tokens.lr", note="tokens.lr for new tokens"),
        "clip_skip": _to("model.clip_skip"),
        "text_encoder_use_attention_mask": _needless("the mask is used where the family was trained with one"),
        "tokenizer_max_length": _needless("read from the tokenizer"),
        "pre_compute_text_embeddings": _needless("text that cannot change is always encoded once"),
    },
    "Adapters": {
        "rank": _to("adapter.rank"),
        "lora_rank": _to("adapter.rank"),
        "lora_alpha": _to("adapter.lora_alpha"),
        "lora_dropout": _to("adapter.dropout"),
        "use_dora": _to("adapter.kind", note='kind = "dora"'),
        "use_blora": _to("adapter.blocks", note='["up_blocks.0.attentions.0", "up_blocks.0.attentions.1"]'),
        "lora_unet_blocks": _to("adapter.blocks"),
        "init": _to("adapter.init.kind"),
        "adaptive_lr": _to("adapter.lr_ratio.kind", note='kind = "adaptive"'),
        "pack": _to("concepts", note="one [[concepts]] each, and a rank for all of them"),
    },
    "Optimisation": {
        "optimizer": _to("optimizer.kind"),
        "learning_rate": _to("optimizer.lr"),
        "scale_lr": _refused("say the learning rate you mean", "optimizer.lr"),
        "lr_scheduler": _to("schedule.kind"),
        "lr_warmup_steps": _to("schedule.warmup_steps", note="in optimizer steps"),
        "lr_num_cycles": _to("schedule.cycles"),
        "lr_power": _to("schedule.power"),
        "adam_beta1": _to("optimizer.betas"),
        "adam_beta2": _to("optimizer.betas"),
        "adam_epsilon": _to("optimizer.eps"),
        "adam_weight_decay": _to("optimizer.weight_decay"),
        "prodigy_beta3": _to("optimizer.beta3"),
        "prodigy_decouple": _to("optimizer.decouple"),
        "prodigy_use_bias_correction": _to("optimizer.bias_correction"),
        "prodigy_safeguard_warmup": _to("optimizer.safeguard_warmup"),
        "max_grad_norm": _to("training.max_grad_norm"),
        "snr_gamma": _to("loss.weighting.gamma", note='loss.weighting.kind = "min_snr"'),
        "noise_offset": _to("loss.noise_offset"),
        "offset_noise": _to("loss.noise_offset", note="a number; theirs stands for 0.1"),
        "do_edm_style_training": _needless("the noise path and the prediction are read from the base's scheduler"),
        "edm_weighting": _to("loss.weighting.kind"),
        "edm_sigma": _not_yet("a choice of noise levels"),
        "gradient_accumulation_steps": _to("training.gradient_accumulation"),
        "gradient_checkpointing": _to("training.gradient_checkpointing"),
        "use_8bit_adam": _to("optimizer.kind", note='kind = "adamw8bit"'),
        "use_ema": _to("training.ema", note="the section's presence turns it on"),
    },
    "Run": {
        "seed": _to("training.seed"),
        "max_train_steps": _to("training.steps"),
        "num_train_epochs": _refused("lengths are in optimizer steps", "training.steps"),
        "train_batch_size": _to("training.batch_size"),
        "checkpointing_steps": _to("checkpoints.every"),
        "save_frequency": _to("checkpoints.every"),
        "checkpoints_total_limit": _to("checkpoints.keep"),
        "resume_from_checkpoint": _needless("`maquette train --out RUN --resume` takes the newest intact one"),
        "output_dir": _to("output.dir", note="`--out`"),
        "loss_dir": _needless("losses are in events.jsonl in the run's folder"),
        "mixed_precision": _to("model.precision"),
        "allow_tf32": _refused("it changes results with the hardware; use bf16", "model.precision"),
        "enable_xformers_memory_efficient_attention": _needless("torch's own attention saves the same memory"),
        "cache_latents": _to("data.cache.latents"),
        "local_rank": _needless("read from the launcher's environment"),
    },
    "Validation": {
        "validation_prompt": _to("preview.prompts"),
        "num_validation_images": _to("preview.num"),
        "validation_epochs": _to("preview.every", note="in optimizer steps"),
        "validation_steps": _to("preview.every"),
        "validation_step_ratio": _to("preview.every", note="in optimizer steps"),
        "validation_scheduler": _to("preview.scheduler"),
    },
    "Logging": {
        "report_to": _to("logging.trackers", note="tensorboard, wandb, mlflow; visualdl is not maintained"),
        "logging_dir": _needless("logs lie in the run's folder"),
        "push_to_hub": _needless("a run's folder has a model card and can be uploaded as it is"),
        "hub_token": _needless("`hf auth login` keeps it out of files and command lines"),
        "hub_model_id": _needless("a run's folder has a model card and can be uploaded as it is"),
        "tracker_project_name": _to("logging.project"),
    },
}

# Names from other trainers' files (kohya's sd-scripts, ai-toolkit, OneTrainer) and from habit.
OTHERS: Mapping[str, Foreign] = {
    "alpha": _to("adapter.lora_alpha"),
    "base_model": _to("model.base"),
    "batch": _to("training.batch_size"),
    "bucket": _to("data.buckets"),
    "cache_latents_to_disk": _to("data.cache.latents"),
    "caption_dropout": _to("data.captions.dropout"),
    "caption_dropout_rate": _to("data.captions.dropout"),
    "caption_ext": _needless(".txt and .caption files are both read"),
    "caption_extension": _needless(".txt and .caption files are both read"),
    "checkpoint": _to("model.base"),
    "conv_alpha": _to("adapter.lora_alpha"),
    "conv_dim": _to("adapter.rank_pattern"),
    "data_dir": _to("data.folder"),
    "dataset_path": _to("data.folder"),
    "dim": _to("adapter.rank"),
    "dtype": _to("model.precision"),
    "ema_decay": _to("training.ema.half_life_images"),
    "enable_bucket": _to("data.buckets"),
    "epochs": _refused("lengths are in optimizer steps", "training.steps"),
    "flip_aug": _to("data.flip"),
    "folder_path": _to("data.folder"),
    "gradient_accumulation_steps": _to("training.gradient_accumulation"),
    "keep_tokens": _to("data.captions.keep_tokens"),
    "learning_rate_scheduler": _to("schedule.kind"),
    "linear": _to("adapter.rank"),
    "linear_alpha": _to("adapter.lora_alpha"),
    "init_lora_weights": _to("adapter.init.kind"),
    "loraplus_lr_ratio": _to("adapter.lr_ratio.ratio", note='adapter.lr_ratio.kind = "fixed"'),
    "diff_output_preservation": _to("preservation", note="the section's presence turns it on"),
    "diff_output_preservation_class": _to("preservation.class_prompt"),
    "diff_output_preservation_multiplier": _to("preservation.weight"),
    "log_with": _to("logging.trackers"),
    "lr": _to("optimizer.lr"),
    "lr_warmup": _to("schedule.warmup_steps"),
    "masked_loss": _to("data.masks"),
    "max_train_epochs": _refused("lengths are in optimizer steps", "training.steps"),
    "min_snr_gamma": _to("loss.weighting.gamma", note='loss.weighting.kind = "min_snr"'),
    "network_alpha": _to("adapter.lora_alpha"),
    "network_args": _to("adapter.targets"),
    "network_dim": _to("adapter.rank"),
    "network_dropout": _to("adapter.dropout"),
    "network_module": _to("adapter.kind"),
    "num_cycles": _to("schedule.cycles"),
    "num_epochs": _refused("lengths are in optimizer steps", "training.steps"),
    "num_repeats": _to("data.repeats"),
    "optimizer_args": _to("optimizer.weight_decay", note="each argument has a key of its own in [optimizer]"),
    "optimizer_type": _to("optimizer.kind"),
    "output_name": _to("output.dir"),
    "path": _to("data.folder"),
    "prediction_type": _needless("read from the base's scheduler"),
    "prior_weight": _to("class_images.weight"),
    "r": _to("adapter.rank"),
    "random_crop": _to("data.crop", note='crop = "random"'),
    "reg_data_dir": _to("class_images.folder"),
    "sample_every": _to("preview.every"),
    "sample_prompts": _to("preview.prompts"),
    "save_dtype": _to("output.precision"),
    "save_every": _to("checkpoints.every"),
    "save_every_n_steps": _to("checkpoints.every"),
    "save_last_n_steps": _to("checkpoints.keep"),
    "save_precision": _to("output.precision"),
    "scheduler": _to("schedule.kind"),
    "shuffle_caption": _to("data.captions.shuffle"),
    "token": _to("data.trigger"),
    "trigger_word": _to("data.trigger"),
    "unet_lr": _to("optimizer.lr"),
    "v_parameterization": _needless("read from the base's scheduler"),
    "v2": _needless("read from the base"),
    "vae_path": _to("model.vae"),
    "warmup": _to("schedule.warmup_steps"),
    "weighting": _to("loss.weighting.kind"),
    "xformers": _needless("torch's own attention saves the same memory"),
}


def foreign(name: str) -> Foreign | None:
    """What another trainer's setting is here; None for a name that no trainer in the table has."""
    name = name.lower().lstrip("-").replace("-", "_")
    return next((group[name] for group in REFERENCE.values() if name in group), OTHERS.get(name))
