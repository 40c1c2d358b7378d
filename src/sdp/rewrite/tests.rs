//! What is rewritten, and that everything else stays byte for byte.
