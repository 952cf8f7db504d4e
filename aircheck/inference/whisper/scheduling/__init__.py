"""When it is computed: which window decodes in which slot, and the model on its device."""
