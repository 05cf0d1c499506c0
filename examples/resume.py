"""Stop and go on: a training that was stopped, saved and resumed ends with the file of one that never stopped.

python examples/resume.py [STEPS]

Trains twice on the embedded names, once straight on, and once with a stop half way, where all that goes on is a file.
Prints the loss of both last steps, the SHA-256 of both files that they leave, and whether they are the same bytes.
"""

import hashlib
import random
import sys
import tempfile
from pathlib import Path

from microgpt import GPT, Config, Saved, Tokenizer, Training, embedded_names, initial_parameters, load, resume, save


def main(steps: int) -> bool:
    docs, rng = embedded_names(), random.Random(42)
    rng.shuffle(docs)
    tokenizer, config = Tokenizer(docs), Config(steps=steps)
    documents = [tokenizer.encode(doc) for doc in docs[:steps]]
    model = GPT(config, initial_parameters(config, tokenizer.vocab_size, rng))
    start = [list(w.data) for w in model.parameters]

    with tempfile.TemporaryDirectory() as directory:
        straight, stopped = Path(directory, "straight.safetensors"), Path(directory, "stopped.safetensors")
        training = Training(model, documents)
        *_, last = training.steps()
        print(f"straight on:      step {last.number}, loss {last.loss:.4f}")
        save(straight, Saved(model, tokenizer, training.state, rng=rng))

        for w, numbers in zip(model.parameters, start):
            w.data = numbers
        training = Training(model, documents)
        *_, last = training.steps(stop=steps // 2)
        print(f"stopped at:       step {last.number}, loss {last.loss:.4f}")
        save(stopped, Saved(model, tokenizer, training.state, rng=rng))
        del model, training  # nothing is left but the file

        saved = load(stopped)
        training = resume(saved, documents)
        *_, last = training.steps()
        print(f"and went on to:   step {last.number}, loss {last.loss:.4f}")
        saved.optimizer = training.state
        save(stopped, saved)

        files = straight.read_bytes(), stopped.read_bytes()
        for file in files:
            print(hashlib.sha256(file).hexdigest())
        print("the same bytes:", files[0] == files[1])
    return files[0] == files[1]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
