// The committed models and the oracle in plain JavaScript: lib/unseen/model.py's "modern" recipe, for one text at a time.
// A test holds its logits to PyTorch's.  It knows no page: `Unseen` takes what models.js lists.
"use strict";

const Unseen = (() => {
  // The leftmost pattern replaced, as rewriting.Rule.apply does; without one the text is returned unchanged.
  function oracle(pattern, replacement, text) {
    const place = text.indexOf(pattern);
    if (place < 0) return text;
    return text.slice(0, place) + replacement + text.slice(place + pattern.length);
  }

  // Why a model cannot read one part of a prompt, as Layout.prompt says it; "" where it can.
  function problem({ alphabet, lengths }, part, text) {
    const unknown = [...text].filter((letter) => !alphabet.includes(letter)).sort()[0];
    if ([...text].length !== lengths[part]) {
      return `${part}: ${[...text].length} letters, but this model reads exactly ${lengths[part]}`;
    }
    return unknown ? `${part}: unknown letter '${unknown}'; the alphabet is '${alphabet}'` : "";
  }

  // The number that 16 bits stand for (IEEE 754 half precision).
  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  // A safetensors file in base64: its tensors by name, each a flat Float64Array.
  function tensors(base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer), start = 8 + Number(view.getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
    const read = {
      F16: [2, (at) => half(view.getUint16(at, true))],
      F32: [4, (at) => view.getFloat32(at, true)],
    };
    const found = {};
    for (const [name, about] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      const [size, number] = read[about.dtype], [from, to] = about.data_offsets;
      found[name] = Float64Array.from({ length: (to - from) / size }, (_, i) => number(start + from + i * size));
    }
    return found;
  }

  // A vector (C) to mean 0 and variance 1.
  function norm(x) {
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    return x.map((value) => (value - mean) / Math.sqrt(variance + 1e-5));
  }

  // A matrix (rows, C) times a vector (C): (rows).
  function times(matrix, x) {
    const product = new Float64Array(matrix.length / x.length);
    for (let row = 0, at = 0; row < product.length; row++) {
      let sum = 0;
      for (let i = 0; i < x.length; i++, at++) sum += matrix[at] * x[i];
      product[row] = sum;
    }
    return product;
  }

  const plus = (x, y) => x.map((value, i) => value + y[i]);

  class Model {
    // `about` is an entry of models.js: the sizes, and the weights as a safetensors file in base64.
    constructor(about) {
      Object.assign(this, about, { weights: tensors(about.weights) });
    }

    // What decoding keeps: the tokens read so far, and each layer's keys and values (T, C).
    begin() {
      const layers = Array.from({ length: this.layers }, () => ({ keys: [], values: [] }));
      return { tokens: [], layers };
    }

    // Each pair of entries turned by an angle that grows with the position: (C) -> (C).
    rotate(x, position) {
      const turned = new Float64Array(x.length), size = this.width / this.heads, pairs = size / 2;
      for (let i = 0; i < x.length; i += 2) {
        const angle = position * this.context ** (-((i % size) / 2) / pairs);
        const cos = Math.cos(angle), sin = Math.sin(angle);
        turned[i] = x[i] * cos - x[i + 1] * sin;
        turned[i + 1] = x[i] * sin + x[i + 1] * cos;
      }
      return turned;
    }

    // A token's own embedding, and what the two tokens before it add: (C).
    embed(tokens, position) {
      const row = (table, token) => table.subarray(token * this.width, (token + 1) * this.width);
      const { embedding, before } = this.weights, size = embedding.length;
      let x = Float64Array.from(row(embedding, tokens[position]));
      for (let back = 1; back <= before.length / size && back <= position; back++) {
        x = plus(x, row(before.subarray((back - 1) * size, back * size), tokens[position - back]));
      }
      return norm(x);
    }

    // A query (C) over all keys and values (T, C), head by head: (C).
    attend(query, { keys, values }) {
      const mixed = new Float64Array(this.width), size = this.width / this.heads;
      for (let head = 0; head < this.width; head += size) {
        const scores = keys.map((key) => {
          let sum = 0;
          for (let i = head; i < head + size; i++) sum += query[i] * key[i];
          return sum / Math.sqrt(size);
        });
        const highest = Math.max(...scores), weights = scores.map((score) => Math.exp(score - highest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        values.forEach((value, t) => {
          const weight = weights[t] / total;
          for (let i = head; i < head + size; i++) mixed[i] += weight * value[i];
        });
      }
      return mixed;
    }

    // Read more tokens; returns the logits (V) for the next one.  Tokens that are read together see each other, so
    // the prompt is read at once and the answer token by token.
    read(newer, cache) {
      const start = cache.tokens.length;
      cache.tokens.push(...newer);
      let stream = newer.map((_, i) => this.embed(cache.tokens, start + i));
      cache.layers.forEach((layer, number) => {
        const weight = (name) => this.weights[`blocks.${number}.${name}`];
        const normed = stream.map(norm);
        layer.keys.push(...normed.map((x, i) => this.rotate(times(weight("k"), x), start + i)));
        layer.values.push(...normed.map((x) => times(weight("v"), x)));
        stream = stream.map((x, i) => {
          const query = this.rotate(times(weight("q"), normed[i]), start + i);
          const mixed = plus(x, times(weight("out"), this.attend(query, layer)));
          const hidden = times(weight("up"), norm(mixed)).map((value) => Math.max(value, 0) ** 2);
          return plus(mixed, times(weight("down"), hidden));
        });
      });
      return times(this.weights.head, norm(stream.at(-1)));
    }

    // The greedy answer to a prompt as text, and the logits of each step.
    decode(prompt) {
      const cache = this.begin(), logits = [], end = this.vocabulary.indexOf(".");
      let tokens = [...prompt].map((letter) => this.vocabulary.indexOf(letter)), answer = "";
      while (logits.length < this.answer_length) {
        logits.push(this.read(tokens, cache));
        const best = logits.at(-1).indexOf(Math.max(...logits.at(-1)));
        if (best === end) break;
        answer += this.vocabulary[best];
        tokens = [best];
      }
      return { answer, logits };
    }

    answer(pattern, replacement, text) {
      return this.decode(`${pattern}→${replacement}|${text}=`).answer;
    }
  }

  return { Model, oracle, problem };
})();
