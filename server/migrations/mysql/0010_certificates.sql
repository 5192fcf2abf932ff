-- Of the certificate that a host showed last: when it ends, and its number in hexadecimal.
ALTER TABLE hosts ADD COLUMN cert_expires BIGINT;
ALTER TABLE hosts ADD COLUMN cert_serial VARCHAR(64);
