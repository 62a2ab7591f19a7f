"""What a trial may be asked: fields that check themselves, sections, the whole configuration."""
