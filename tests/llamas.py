"""A tiny random Llama with a tokenizer of single characters, written to disk as any local model is."""

from unseen.model import seeded

SIGNS = "abcdefghijklmnopqrstuvwxyz0123456789:->\n ROuleIntp"  # what the prompts and answers hold


def write_llama(folder, signs=SIGNS, width=16):
    """Write model and tokenizer into a folder; the same bits every time."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", "<unk>", *dict.fromkeys(signs)])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "max_position_embeddings": 128}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 1}
    config = LlamaConfig(vocab_size=len(vocabulary), **shape, **layers)
    with seeded(0):
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder
