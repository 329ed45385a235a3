ALTER TABLE {schema}.effects ADD COLUMN unbegun int;
