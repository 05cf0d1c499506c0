"""What a type checker must object to, in the lines that say so: types that were Any would let it pass."""

import random

from microgpt import GPT, SCALARS, Config, Value, Vector, initial_parameters, record, softmax

product = record(lambda x, y: x * y, 0.5, 2.0)
text: str = product(0.25, 3.0)  # wrong
letters: str = product.inputs[0].grad  # wrong
halves = record(lambda x: softmax(x) / 2, [0.5, 2.0])
number: float = halves([1.0, 2.0])  # wrong
value: Value = halves.result  # wrong
config = Config()
model = GPT(config, initial_parameters(config, 3, random.Random(1)))
keys, values = model.empty_cache(), model.empty_cache()
list_of_values: list[Value] = model.gpt(0, 0, keys, values)  # wrong
scalar_model = GPT(config, model.state_dict, SCALARS)
vector: Vector = scalar_model.gpt(0, 0, scalar_model.empty_cache(), scalar_model.empty_cache())  # wrong
words: str = Value(2.0)  # wrong
names: str = Vector([1.0])[0].data  # wrong
