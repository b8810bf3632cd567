"""Plans whose memory is counted, not guessed."""
