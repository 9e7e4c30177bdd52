"""From reports to events: station states, finished spells and poll records, and the producer that sends them."""
