"""SMS through Vonage, formerly Nexmo."""
