"""The playground's page (`site/`, with the engine of `refca_js`) and what serves or exports it."""
