"""A small language model that really learns, on a CPU, from the file a fine-tuning job was given.

What it is
----------
A *mixture of context experts* over the 200,019 tokens of o200k_base, in NumPy. Each expert looks at the
answer so far, and at the prompt, through one kind of context (``contexts.py`` lists the eleven of them) and
has counted what followed that context in the training file; a gate, a logistic regression on how much and
how uniform that evidence is, says how far the expert is trusted over the more general ones below it
(``mixture.py`` has the formulas). A copy mechanism repeats whole words of the prompt; a memory follows the
answers of the most similar training prompts. A base model of the same kind, made in seconds from a small
corpus of generic assistant talk that was written for it (``data/base_corpus.json``), stands frozen below
every tuned model.

What is real
------------
Everything a job reports is measured. The loss is the exact mean negative log-likelihood of the answer
tokens (nats); every token has a probability above zero and all of them sum to one. The accuracy is the
share of answer tokens that are the model's first choice. Training is stochastic gradient descent on the
gates (Adam) and writing of evidence, minibatch by minibatch; epochs, batch size, learning rate multiplier
and seed do what they say; too many epochs over-fit; a checkpoint is the model as it was after its epoch; on
one machine the same file, hyperparameters and seed give the same numbers, bit for bit. Deployed models
answer from what they learned, and only from that.

What differs from GPT
---------------------
* **Levels.** A large pre-trained model begins a fine-tuning at a loss of about 0.6 to 1.5 and an accuracy
  of 0.65 to 0.9. This one knows no world: it begins at a loss of 9 to 12 and an accuracy near 0.1, and gets
  below 1 on validation data only when that data resembles the training file. Compare its curves with each
  other, not with Azure's.
* **Shape.** The first epoch does most of the work, and on open-ended text validation loss may not improve
  after it.
* **Knowledge.** It takes over voice, form and facts of the file. Asked about something no example is near
  to, it answers in the right voice with the wrong facts, or splices two examples. It does not calculate or
  reason.
* **Decoding.** A tiny model is too flat to sample from as it is, so temperature 1 samples from P ** 3, and
  the memory of the nearest example gets a head start (``decoding.py``). Greedy decoding is temperature 0. A
  reply that has fallen into a loop is ended after the loop's first round.
* **Short sight.** It sees the last 512 tokens of a prompt: the question and a little of the turn before it.
  The system message matters only where the training file has several.

Besides answers it learns from preferences (``preference.py``) and from graded samples (``reinforcement.py``). The
latter finds labels and short forms; what the base model never says and the file does not contain it cannot find.

Other modules
-------------
``tokens`` text to ids · ``conversations`` messages to turns · ``neighbours`` similar prompts · ``contexts``
keys of what surrounds a token · ``evidence`` the counts · ``pointer`` what is copied · ``mixture`` the
model · ``training``, ``preference``, ``reinforcement`` three ways to teach it · ``decoding`` · ``storage``
models as bytes · ``base`` the base model · ``learner`` the door · ``outcomes`` its values.
"""

from emulator.learning.learner import Learner
from emulator.learning.outcomes import (
    FinishReason,
    Hyperparameters,
    Reply,
    RewardRow,
    StepRow,
    auto_batch_size,
    auto_epochs,
)
from emulator.learning.reinforcement import Rehearsal
from emulator.learning.tokens import count_tokens

__all__ = [
    "FinishReason",
    "Hyperparameters",
    "Learner",
    "Rehearsal",
    "Reply",
    "RewardRow",
    "StepRow",
    "auto_batch_size",
    "auto_epochs",
    "count_tokens",
]
