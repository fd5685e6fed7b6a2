"""Where the thresholds and the advice come from, by name and date."""

from typing import Final

LEARN_RESULTS: Final = (
    "Microsoft Learn, “Customize a model with Azure OpenAI in Microsoft Foundry Models and the REST API”, "
    "section “Analyze your customized model” (articles/foundry/openai/includes/fine-tuning-rest.md, 021e88f4)"
)
"""Says: loss should decrease and accuracy increase; if training and validation diverge, you might be
over-fitting: fewer epochs or a smaller learning-rate multiplier."""

LEARN_SETTINGS: Final = (
    "Microsoft Learn, same page, table of hyperparameters (fine-tuning-rest.md, 021e88f4); "
    "includes/supervised-fine-tuning-settings.md, 2026-10-07"
)
"""Says: begin with the automatic defaults; larger batches for larger datasets; larger learning rates go with
larger batches; try 0.02 to 0.2; a smaller rate helps against over-fitting."""

LEARN_DATA: Final = (
    "Microsoft Learn, same page, section “Create your training and validation datasets” "
    "(fine-tuning-rest.md, 021e88f4)"
)
"""Says: at least 10 examples or the job does not start; hundreds, better thousands; bad examples do harm."""

LEARN_CHECKPOINTS: Final = "Microsoft Learn, same page, section “List checkpoints” (fine-tuning-rest.md, 021e88f4)"
"""Says: an epoch's end makes a checkpoint; the three most recent versions stay deployable; they may be
snapshots from before over-fitting."""

LEARN_PAUSE: Final = "Microsoft Learn, same page, section “Pause and resume” (fine-tuning-rest.md, 021e88f4)"
"""Says: pause when metrics do not converge or the pace is wrong."""

FIELD_REPORT: Final = (
    "“GPT-4.1シリーズがAzureでFT対応したので検証してみた” (field report on fine-tuning GPT-4.1 on Azure), "
    "section “Fine-tuning 失敗しないためのポイント”"
)
"""Says: learning rate 0.5 to 1.0 to begin, usually 0.5 to 2.0, too large diverges; 1 to 3 epochs, then 3 to
5; keep about 20 % for validation; small sets want a small batch (default 0.2 %, at most 256)."""

FIELD_REPORT_CURVES: Final = (
    "“GPT-4.1シリーズがAzureでFT対応したので検証してみた”, section “結果ファイル(results.csv)の分析”"
)
"""Says: a growing distance of validation from training, or validation that keeps rising from some step on, is
a sign of over-fitting; stagnating accuracy asks for another learning rate or number of epochs."""

FIELD_REPORT_LOSS: Final = (
    "“Azure OpenAI の GPT4o で Fine Tuning ！！！ 〜仮想小説の登場人物を学習させてみる〜”, section on training loss"
)
"""Says: a training loss that does not fall, or rises, asks for another learning rate or other settings;
examples must cover the different ways a question is asked."""

TRAINING_CURVES: Final = "Microsoft's training-curves reference for its fine-tuning skill (2026-08-20)"
"""Names the columns of reinforcement fine-tuning, and validation at 2 times the training loss as severe
over-fitting."""
