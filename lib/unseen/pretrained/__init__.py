"""Fine-tuning a pre-trained model (paper, experiment 6): a base that was pre-trained here on drills, or a local model with an adapter."""
