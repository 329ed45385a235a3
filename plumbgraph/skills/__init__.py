"""Skills: SKILL.md folders found, ranked, loaded inside a token budget and put down again."""
