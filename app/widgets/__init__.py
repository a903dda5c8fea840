"""What screens share. A widget is drawn from immutable snapshots and knows neither screens nor the client."""
