"""What other trainers call our settings: each of their flags, and our key for it, or why there is none.

From this table and kohya's come the hints for unknown keys, docs/flags.md and what `maquette migrate` does.
"""

from collections.abc import Mapping

from maquette.config.answer import Foreign, needless, refused, to
from maquette.config.kohya import KOHYA

_OPTIMIZERS: Mapping[str, object] = {"adamw": "adamw", "prodigy": "prodigy", "adamw8bit": "adamw8bit"}
_SCHEDULES: Mapping[str, object] = {
    **{kind: kind for kind in ("constant", "linear", "cosine", "cosine_with_restarts", "polynomial")},
    "constant_with_warmup": "constant",
}
_PRECISIONS: Mapping[str, object] = {"no": "fp32", "fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}
_MIN_SNR: Mapping[str, object] = {"loss.weighting.kind": "min_snr"}
_EDM: Mapping[str, object] = {"none": "uniform_x0", "edm": "edm", "min_snr": "min_snr", "soft": "soft_min_snr"}
_EPOCHS = "lengths are in optimizer steps; `maquette migrate` converts where it can count the pictures"
_TRACKERS: Mapping[str, object] = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}

# The flags of the reference trainers (diffusers' scripts and their ports), by the groups of their documentation.
REFERENCE: Mapping[str, Mapping[str, Foreign]] = {
    "Model": {
        "pretrained_model_name_or_path": to("model.base", note="`--base`"),
        "pretrained_vae_model_name_or_path": to("model.vae"),
        "pretrained_decoder_model_name_or_path": to("model.base", "model.decoder", note="decoder: of a prior"),
        "pretrained_prior_model_name_or_path": to("model.base", "model.prior", note="prior: of a decoder"),
        "revision": to("model.revision"),
        "variant": to("model.variant"),
        "tokenizer_name": to("model.tokenizer"),
    },
    "Data": {
        "dataset_name": to("data.dataset"),
        "dataset_config_name": to("data.dataset_config"),
        "instance_data_dir": to("data.folder", note="the positional argument of `maquette train`"),
        "train_data_dir": to("data.folder", note="the positional argument of `maquette train`"),
        "cache_dir": needless("the hub's own setting decides where downloads lie (HF_HOME)"),
        "image_column": to("data.image_column"),
        "caption_column": to("data.caption_column"),
        "instance_prompt": to("data.prompt", note="`--prompt`"),
        "repeats": to("data.repeats"),
        "height": to("data.size", note="[height, width]; crops, and never squashes"),
        "width": to("data.size", note="[height, width]; crops, and never squashes"),
        "resolution": to("data.resolution"),
        "center_crop": to(
            "data.crop", note='crop = "center"; without it, as the scripts cut: "random", buckets = false', on="center"
        ),
        "random_flip": to("data.flip"),
        "image_interpolation_mode": needless("pictures are scaled by one good filter, Lanczos"),
        "max_train_samples": to("data.split", note='split = "train[:100]"; or give a smaller folder'),
        "dataloader_num_workers": needless("encoded pictures are cached, so that nothing is decoded in a step"),
    },
    "Prior preservation": {
        "with_prior_preservation": to("class_images", note="the section's presence turns it on", on={}),
        "class_data_dir": to("class_images.folder"),
        "class_prompt": to("class_images.prompt"),
        "num_class_images": to("class_images.count"),
        "prior_loss_weight": to("class_images.weight"),
        "sample_batch_size": needless("class pictures are made one by one, so that they do not depend on the batch"),
        "prior_generation_precision": needless("class pictures are made as `maquette generate` makes them"),
    },
    "New tokens": {
        "train_text_encoder_ti": to("tokens", note="the section's presence turns it on", on={}),
        "train_text_encoder_ti_frac": to("tokens.stop", note="by steps, not by whole epochs"),
        "token_abstraction": to("tokens.placeholders"),
        "num_new_tokens_per_abstraction": to("tokens.placeholders", note="{ TOK = 2 }"),
        "adam_weight_decay_text_encoder": to("tokens.weight_decay", note="0 is none"),
    },
    "Text encoder": {
        "train_text_encoder": to("text_encoder.train"),
        "train_text_encoder_frac": to("text_encoder.stop"),
        "text_encoder_lr": to("text_encoder.lr", "tokens.lr", note="tokens.lr for new tokens"),
        "clip_skip": to("model.clip_skip"),
        "text_encoder_use_attention_mask": needless("the mask is used where the family was trained with one"),
        "tokenizer_max_length": needless("read from the tokenizer"),
        "pre_compute_text_embeddings": needless("text that cannot change is always encoded once"),
    },
    "Adapters": {
        "rank": to("adapter.rank"),
        "lora_rank": to("adapter.rank"),
        "lora_alpha": to("adapter.lora_alpha"),
        "lora_dropout": to("adapter.dropout"),
        "use_dora": to("adapter.kind", note='kind = "dora"', on="dora"),
        "use_blora": to(
            "adapter.blocks",
            note='["up_blocks.0.attentions.0", "up_blocks.0.attentions.1"]',
            on=["up_blocks.0.attentions.0", "up_blocks.0.attentions.1"],
        ),
        "lora_unet_blocks": to("adapter.blocks"),
        "init": to("adapter.init.kind"),
        "adaptive_lr": to("adapter.lr_ratio.kind", note='kind = "adaptive"', on="adaptive"),
        "pack": to("concepts", note="one [[concepts]] each, or [pack] and a folder of folders"),
    },
    "Optimisation": {
        "optimizer": to("optimizer.kind", words=_OPTIMIZERS),
        "learning_rate": to("optimizer.lr"),
        "scale_lr": refused("say the learning rate you mean; `maquette migrate` multiplies it out", "optimizer.lr"),
        "lr_scheduler": to("schedule.kind", words=_SCHEDULES),
        "lr_warmup_steps": to("schedule.warmup_steps", note="in optimizer steps"),
        "lr_num_cycles": to("schedule.cycles"),
        "lr_power": to("schedule.power"),
        "adam_beta1": to("optimizer.betas"),
        "adam_beta2": to("optimizer.betas"),
        "adam_epsilon": to("optimizer.eps"),
        "adam_weight_decay": to("optimizer.weight_decay"),
        "prodigy_beta3": to("optimizer.beta3"),
        "prodigy_decouple": to("optimizer.decouple"),
        "prodigy_use_bias_correction": to("optimizer.bias_correction"),
        "prodigy_safeguard_warmup": to("optimizer.safeguard_warmup"),
        "max_grad_norm": to("training.max_grad_norm"),
        "snr_gamma": to("loss.weighting.gamma", note='loss.weighting.kind = "min_snr"', also=_MIN_SNR),
        "noise_offset": to("loss.noise_offset"),
        "offset_noise": to("loss.noise_offset", note="a number; theirs stands for 0.1", on=0.1),
        "do_edm_style_training": needless(
            "on a base that predicts noise it changes nothing (docs/maths.md); a base with an EDM scheduler is trained "
            "so without it, too",
            "loss.noise_levels",
        ),
        "edm_weighting": to("loss.weighting.kind", words=_EDM),
        "edm_sigma": to("loss.noise_levels.kind", words={"lognormal": "lognormal", "karras_uniform": "karras"}),
        "gradient_accumulation_steps": to("training.gradient_accumulation"),
        "gradient_checkpointing": to("training.gradient_checkpointing"),
        "use_8bit_adam": to("optimizer.kind", note='kind = "adamw8bit"', on="adamw8bit"),
        "use_ema": to("training.ema", note="its half-life by the length of the run: see `maquette migrate`", on={}),
    },
    "Run": {
        "seed": to("training.seed"),
        "max_train_steps": to("training.steps"),
        "num_train_epochs": refused(_EPOCHS, "training.steps"),
        "train_batch_size": to("training.batch_size"),
        "checkpointing_steps": to("checkpoints.every"),
        "save_frequency": to("checkpoints.every"),
        "checkpoints_total_limit": to("checkpoints.keep"),
        "resume_from_checkpoint": needless("`maquette train --out RUN --resume` takes the newest intact one"),
        "output_dir": to("output.dir", note="`--out`"),
        "loss_dir": needless("losses are in events.jsonl in the run's folder"),
        "mixed_precision": to("model.precision", words=_PRECISIONS),
        "allow_tf32": refused("it changes results with the hardware; use bf16", "model.precision"),
        "enable_xformers_memory_efficient_attention": needless("torch's own attention saves the same memory"),
        "cache_latents": to("data.cache.latents"),
        "local_rank": needless("read from the launcher's environment"),
    },
    "Validation": {
        "validation_prompt": to("preview.prompts"),
        "num_validation_images": to("preview.num"),
        "validation_epochs": to("preview.every", note="in optimizer steps"),
        "validation_steps": to("preview.every"),
        "validation_step_ratio": to("preview.every", note="in optimizer steps"),
        "validation_scheduler": to(
            "preview.scheduler",
            words={
                "dpmsolvermultistepscheduler": "dpm++",
                "ddpmscheduler": "ddpm",
                "ddimscheduler": "ddim",
                "eulerdiscretescheduler": "euler",
            },
        ),
    },
    "Logging": {
        "report_to": to(
            "logging.trackers", note="tensorboard, wandb, mlflow; visualdl is not maintained", words=_TRACKERS
        ),
        "logging_dir": needless("logs lie in the run's folder"),
        "push_to_hub": needless("`maquette publish RUN NAME` when the run is done, or `maquette train --push-to-hub`"),
        "hub_token": needless("`hf auth login` keeps it out of files and command lines"),
        "hub_model_id": needless("`maquette publish RUN NAME` when the run is done"),
        "tracker_project_name": to("logging.project"),
    },
}

# Names from other trainers' files (ai-toolkit, OneTrainer) and from habit.
OTHERS: Mapping[str, Foreign] = {
    "alpha": to("adapter.lora_alpha"),
    "base_model": to("model.base"),
    "batch": to("training.batch_size"),
    "bucket": to("data.buckets"),
    "caption_dropout": to("data.captions.dropout"),
    "caption_ext": needless(".txt and .caption files are both read"),
    "checkpoint": to("model.base"),
    "data_dir": to("data.folder"),
    "dataset_path": to("data.folder"),
    "dim": to("adapter.rank"),
    "dtype": to("model.precision"),
    "ema_decay": refused("say after how many pictures a weight counts half", "training.ema.half_life_images"),
    "epochs": refused("lengths are in optimizer steps", "training.steps"),
    "folder_path": to("data.folder"),
    "gradient_accumulation_steps": to("training.gradient_accumulation"),
    "learning_rate_scheduler": to("schedule.kind"),
    "linear": to("adapter.rank"),
    "linear_alpha": to("adapter.lora_alpha"),
    "init_lora_weights": to("adapter.init.kind"),
    "diff_output_preservation": to("preservation", note="the section's presence turns it on"),
    "diff_output_preservation_class": to("preservation.class_prompt"),
    "diff_output_preservation_multiplier": to("preservation.weight"),
    "log_with": to("logging.trackers"),
    "lr": to("optimizer.lr"),
    "lr_warmup": to("schedule.warmup_steps"),
    "num_cycles": to("schedule.cycles"),
    "num_epochs": refused("lengths are in optimizer steps", "training.steps"),
    "path": to("data.folder"),
    "prediction_type": needless("read from the base's scheduler"),
    "prior_weight": to("class_images.weight"),
    "r": to("adapter.rank"),
    "sample_every": to("preview.every"),
    "save_dtype": to("output.precision"),
    "save_every": to("checkpoints.every"),
    "scheduler": to("schedule.kind"),
    "token": to("data.trigger"),
    "trigger_word": to("data.trigger"),
    "vae_path": to("model.vae"),
    "warmup": to("schedule.warmup_steps"),
    "weighting": to("loss.weighting.kind"),
}


def foreign(name: str) -> Foreign | None:
    """What another trainer's setting is here; None for a name that no trainer in the table has."""
    name = name.lower().lstrip("-").replace("-", "_")
    groups = (*REFERENCE.values(), *KOHYA.values(), OTHERS)
    return next((group[name] for group in groups if name in group), None)
