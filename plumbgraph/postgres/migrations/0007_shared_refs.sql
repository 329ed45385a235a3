INSERT INTO {schema}.blob_refs (tenant, space, owner, digest)
SELECT tenant, 'workspace', 'shared:' || name || ':' || epoch, head
FROM {schema}.workspaces WHERE head IS NOT NULL
ON CONFLICT DO NOTHING;
