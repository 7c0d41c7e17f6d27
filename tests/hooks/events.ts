/** Events as the services send them, field by field; what is not read is left as it came. */

/** As MinIO posts it: the records in an envelope that names the event and the key once more. */
export function minioEvent(bucket: string, key: string, extra: Record<string, unknown> = {}): Record<string, unknown> {
  const encoded = encodeURIComponent(key).replaceAll("%20", "+");
  return {
    EventName: "s3:ObjectCreated:Put",
    Key: `${bucket}/${key}`,
    Records: [{
      eventVersion: "2.0",
      eventSource: "minio:s3",
      awsRegion: "",
      eventTime: new Date().toISOString(),
      eventName: "s3:ObjectCreated:Put",
      userIdentity: { principalId: "minioadmin" },
      requestParameters: { principalId: "minioadmin", region: "", sourceIPAddress: "127.0.0.1" },
      responseElements: {
        "x-amz-id-2": "dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8",
        "x-amz-request-id": "17E2E6F4C3E3F0A1",
        "x-minio-origin-endpoint": "http://127.0.0.1:9000",
      },
      s3: {
        s3SchemaVersion: "1.0",
        configurationId: "Config",
        bucket: { name: bucket, ownerIdentity: { principalId: "minioadmin" }, arn: `arn:aws:s3:::${bucket}` },
        object: {
          key: encoded,
          size: 12_345,
          eTag: "6f5902ac237024bdd0c176cb93063dc4",
          contentType: "image/png",
          userMetadata: { "content-type": "image/png" },
          sequencer: "17E2E6F4C40C4D8B",
        },
      },
      source: { host: "127.0.0.1", port: "", userAgent: "MinIO (linux; amd64) minio-go/v7.0.70" },
      ...extra,
    }],
  };
}

/** A database webhook of Supabase on `storage.objects`. */
export function supabaseEvent(bucket: string, name: string, type = "INSERT"): Record<string, unknown> {
  const record = {
    id: "6f8f7f0e-7c8b-4a35-9d3f-0f5d6f1f6c11",
    name,
    owner: null,
    owner_id: null,
    version: "8a2f5b1e-3a45-4b36-8c9d-2f9d1b2c3d4e",
    metadata: { eTag: '"abc"', size: 12_345, mimetype: "image/png", cacheControl: "max-age=3600" },
    bucket_id: bucket,
    created_at: new Date().toISOString(),
    updated_at: new Date().toISOString(),
    path_tokens: name.split("/"),
    user_metadata: {},
    last_accessed_at: new Date().toISOString(),
  };
  const isDelete = type === "DELETE";
  return {
    type,
    table: "objects",
    schema: "storage",
    record: isDelete ? null : record,
    old_record: isDelete ? record : null,
  };
}
