//! The description of the API, made of the types that answer.

use modelfleet_crds::device_api::{self, DeviceDetail, DevicePage, FailureList, Refusal};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::query::{FailureQuery, ListQuery};

/// Where it is.
pub const PATH: &str = "/apis/modelfleet.io/v1alpha1/openapi.json";

/// The parameters of a query, of the type that reads it.
fn parameters<T: JsonSchema>() -> Vec<Value> {
    let schema = SchemaSettings::openapi3().into_generator().into_root_schema_for::<T>();
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let parameter = |(name, mut schema): (String, Value)| {
        let description = schema.as_object_mut().and_then(|schema| {
            // Absent is not the same as null, and a query has no null.
            schema.remove("nullable");
            schema.remove("description")
        });
        json!({"name": name, "in": "query", "required": false, "description": description, "schema": schema})
    };
    properties.into_iter().map(parameter).collect()
}

fn in_path(name: &str, description: &str) -> Value {
    let schema = json!({"type": "string"});
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema})
}

/// The description, as OpenAPI 3.0.
pub fn description() -> Value {
    let mut schemas = SchemaSettings::openapi3().into_generator();
    let answer = |schema: Schema, description: &str| json!({"description": description, "content": {"application/json": {"schema": schema}}});
    let refusal = schemas.subschema_for::<Refusal>();
    let get = |summary: &str, parameters: Vec<Value>, schema: Schema| {
        let responses = json!({
            "200": answer(schema, summary),
            "400": answer(refusal.clone(), "Something of the request cannot be read."),
            "401": answer(refusal.clone(), "There is no token, or the API server does not know it."),
            "403": answer(refusal.clone(), "The user of the token has no right to it."),
            "404": answer(refusal.clone(), "There is no such fleet or device."),
            "503": answer(refusal.clone(), "This replica does not lead, or too much is asked at once."),
        });
        json!({"get": {"summary": summary, "parameters": parameters, "responses": responses}})
    };
    let namespace = || in_path("namespace", "The namespace, which is a fleet.");
    let list = [vec![namespace()], parameters::<ListQuery>()].concat();
    let of_failures = [vec![namespace()], parameters::<FailureQuery>()].concat();
    let one = vec![namespace(), in_path("device", "The id of the device.")];
    let path = |what: &str| device_api::path("{namespace}", what);
    let paths = json!({
        path("devices"): get("A page of devices.", list, schemas.subschema_for::<DevicePage>()),
        path("devices/{device}"): get("One device.", one, schemas.subschema_for::<DeviceDetail>()),
        path("failures"): get("Why devices failed.", of_failures, schemas.subschema_for::<FailureList>()),
    });
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Devices of Modelfleet",
            "version": modelfleet_crds::VERSION,
            "description": "What the controller knows of devices. It is read only. A request needs a bearer token, whose user may \
                            get and list devices.modelfleet.io in the namespace.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_the_description_leads_somewhere() {
        let description = description();
        let text = description.to_string();
        let references: Vec<&str> = text.split("\"#/components/schemas/").skip(1).collect();
        assert!(references.len() > 10, "{text}");
        for reference in references {
            let name = reference.split('"').next().unwrap();
            assert!(description["components"]["schemas"].get(name).is_some(), "{name}");
        }
        let list = &description["paths"][device_api::path("{namespace}", "devices")]["get"]["parameters"];
        let names: Vec<&str> = list.as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
        assert!(names.contains(&"labelSelector") && names.contains(&"continue"), "{names:?}");
    }
}
