"""Three domains of instructions in one format and vocabulary: letters, algebra and lists; what a specialist gains from the others."""
