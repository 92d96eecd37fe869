"""The type checker of the suite: annotations mean what PEP 484 says, so a whole number is a float as well."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
