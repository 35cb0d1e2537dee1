"""The generated pages: equal to what is committed, and complete."""

from pathlib import Path

import pytest

from maquette.config.foreign import OTHERS, REFERENCE, foreign
from maquette.config.keys import keys, tables
from maquette.config.reference import configuration_markdown, flags_markdown, suites_markdown

DOCS = Path(__file__).parents[3] / "docs"

# Every flag that the reference documents and their scripts set.
FLAGS = """
pretrained_model_name_or_path pretrained_vae_model_name_or_path pretrained_decoder_model_name_or_path
pretrained_prior_model_name_or_path revision variant tokenizer_name dataset_name dataset_config_name instance_data_dir
train_data_dir cache_dir image_column caption_column instance_prompt repeats height width resolution center_crop
random_flip image_interpolation_mode max_train_samples dataloader_num_workers with_prior_preservation class_data_dir
class_prompt num_class_images prior_loss_weight sample_batch_size prior_generation_precision train_text_encoder_ti
train_text_encoder_ti_frac token_abstraction num_new_tokens_per_abstraction adam_weight_decay_text_encoder
train_text_encoder train_text_encoder_frac text_encoder_lr clip_skip text_encoder_use_attention_mask
tokenizer_max_length pre_compute_text_embeddings rank lora_rank lora_alpha lora_dropout use_dora use_blora
lora_unet_blocks init adaptive_lr pack optimizer learning_rate scale_lr lr_scheduler lr_warmup_steps lr_num_cycles
lr_power adam_beta1 adam_beta2 adam_epsilon adam_weight_decay prodigy_beta3 prodigy_decouple
prodigy_use_bias_correction prodigy_safeguard_warmup max_grad_norm snr_gamma noise_offset do_edm_style_training
edm_weighting edm_sigma gradient_accumulation_steps gradient_checkpointing use_8bit_adam use_ema seed max_train_steps
num_train_epochs checkpointing_steps save_frequency checkpoints_total_limit resume_from_checkpoint output_dir loss_dir
mixed_precision allow_tf32 enable_xformers_memory_efficient_attention cache_latents local_rank validation_prompt
num_validation_images validation_epochs validation_steps validation_step_ratio validation_scheduler report_to
logging_dir push_to_hub hub_token hub_model_id tracker_project_name
"""


PAGES = [("configuration.md", configuration_markdown), ("suites.md", suites_markdown), ("flags.md", flags_markdown)]


@pytest.mark.parametrize(("page", "made"), PAGES)
def test_the_committed_page_is_the_one_that_the_schema_makes(page: str, made):
    assert (DOCS / page).read_text(encoding="utf-8") == made(), "run `make docs`"


@pytest.mark.parametrize("flag", FLAGS.split())
def test_every_flag_of_the_reference_documents_has_an_answer(flag: str):
    answer = foreign(f"--{flag}")
    assert answer is not None
    assert answer.keys if answer.status == "mapped" else answer.note


def test_every_answer_names_keys_that_exist():
    known = {key.path for key in keys()} | set(tables())
    named = {key for group in (*REFERENCE.values(), OTHERS) for entry in group.values() for key in entry.keys}
    assert named <= known


def test_every_key_and_kind_is_in_the_reference():
    page = configuration_markdown()
    assert [key.path for key in keys() if f"| `{key.name}` |" not in page and key.name != "kind"] == []
    assert [path for path in tables() if path and f"[{path}]" not in page] == []
    assert all(f'{path}.kind = "{kind}"' in page for path, table in tables().items() for kind in table.kinds())


def test_tables_have_a_cell_for_every_column():
    for page in (configuration_markdown(), flags_markdown()):
        for line in page.splitlines():
            if line.startswith("|"):
                assert line.replace("\\|", "").count("|") in (4, 5)
